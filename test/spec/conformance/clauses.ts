/**
 * The numbered demands of the two specifications, one a line, in words of our own: number, whose demand
 * it is, what it asks, and then either why no test can show it (`built`) or, in MQTT 3.1.1, which
 * clauses of MQTT 5.0 ask the same (their tests count where they run MQTT 3.1.1 clients).
 */

/** `server`: a test must show it. `client`: no server can break it. `built`: true by construction. */
export type Kind = "server" | "client" | "built";

export interface Clause {
  readonly id: string;
  readonly kind: Kind;
  readonly words: string;
  /** Why it holds, of a `built` one; else "". */
  readonly why: string;
  /** Clauses of MQTT 5.0 that ask the same. */
  readonly same: readonly string[];
}

const v5 = `
1.5.4-1 | server | text is well-formed UTF-8 without surrogates
1.5.4-2 | server | text has no U+0000
1.5.4-3 | server | U+FEFF is a character like others and stays
1.5.5-1 | server | a length or number of variable size is written in the fewest bytes
1.5.7-1 | server | both strings of a pair are proper text
2.1.3-1 | server | reserved flag bits have their given value
2.2.1-2 | built | a PUBLISH of QoS 0 has no packet id | the two bytes are read and written only for QoS 1 and 2
2.2.1-3 | client | SUBSCRIBE, UNSUBSCRIBE and PUBLISH carry an unused id other than 0
2.2.1-4 | server | the server's PUBLISH carries an unused id other than 0
2.2.1-5 | server | PUBACK, PUBREC, PUBREL, PUBCOMP carry the PUBLISH's id
2.2.1-6 | server | SUBACK and UNSUBACK carry the request's id
2.2.2-1 | server | no properties are told by a length of 0
3.1.0-1 | server | a connection begins with CONNECT
3.1.0-2 | server | a second CONNECT is a protocol error and closes
3.1.2-1 | server | another protocol name closes the connection
3.1.2-2 | server | another protocol version: CONNACK 0x84 and close
3.1.2-3 | server | the reserved CONNECT flag is 0
3.1.2-4 | server | Clean Start discards an old session
3.1.2-5 | server | without Clean Start an existing session goes on
3.1.2-6 | server | without Clean Start and a session there is a new one
3.1.2-7 | server | a will is kept with the session
3.1.2-8 | server | the will is published after a loss, at its delay or the session's end
3.1.2-9 | server | a will flag brings will properties, topic and payload
3.1.2-10 | server | a will is removed once published or after DISCONNECT 0x00
3.1.2-11 | server | no will, no will QoS
3.1.2-12 | server | a will's QoS is 0, 1 or 2
3.1.2-13 | server | no will, no will retain
3.1.2-14 | server | a will that is not retained is published so
3.1.2-15 | server | a will that is retained is published so
3.1.2-16 | server | no user name without its flag
3.1.2-17 | server | a user name with its flag
3.1.2-18 | server | no password without its flag
3.1.2-19 | server | a password with its flag
3.1.2-20 | client | an idle client sends PINGREQ in time
3.1.2-21 | client | the client takes over the server's keep-alive
3.1.2-22 | server | silence of one and a half keep-alives closes
3.1.2-23 | server | a session with an expiry outlives its connection
3.1.2-24 | server | nothing larger than the client's Maximum Packet Size is sent
3.1.2-25 | server | a message too large for a client is dropped as if delivered
3.1.2-26 | server | no topic alias over the client's maximum
3.1.2-27 | server | no topic alias when the client allows none
3.1.2-28 | server | no response information unless asked for
3.1.2-29 | server | no reason strings and user properties of our own when not wanted
3.1.2-30 | server | before CONNACK a client that authenticates sends AUTH or DISCONNECT only
3.1.3-1 | server | the fields of CONNECT have their order
3.1.3-2 | server | the client id names the session
3.1.3-3 | server | the client id is there and comes first
3.1.3-4 | server | the client id is proper text
3.1.3-5 | server | ids of 1 to 23 letters and digits are taken
3.1.3-6 | server | a client without an id gets a unique one
3.1.3-7 | server | the assigned id is used and told
3.1.3-8 | server | a refused id closes the connection
3.1.3-9 | server | a client that is back before the will delay has its will not sent
3.1.3-10 | server | the will's user properties keep their order
3.1.3-11 | server | the will topic is proper text
3.1.3-12 | server | the user name is proper text
3.1.4-1 | server | a CONNECT that has not the format closes
3.1.4-2 | server | failed checks close the connection
3.1.4-3 | server | the older connection of an id gets 0x8E and is closed
3.1.4-4 | server | Clean Start is processed
3.1.4-5 | server | CONNACK 0x00 answers a CONNECT that is accepted
3.1.4-6 | server | nothing after a refused CONNECT is processed
3.2.0-1 | server | nothing but AUTH goes out before CONNACK
3.2.0-2 | server | one CONNACK a connection
3.2.2-1 | server | the reserved bits of CONNACK are 0
3.2.2-2 | server | Clean Start: Session Present is 0
3.2.2-3 | server | Session Present tells whether there was a session
3.2.2-4 | client | a client without state leaves at Session Present 1
3.2.2-5 | client | a client drops its state at Session Present 0
3.2.2-6 | server | a refusal has Session Present 0
3.2.2-7 | server | a refusal closes
3.2.2-8 | built | CONNACK has a code of its list | the codes come from one table, src/protocol/reason-codes.ts
3.2.2-9 | server | Maximum QoS is told when it is below 2
3.2.2-10 | server | SUBSCRIBE for a higher QoS is taken all the same
3.2.2-11 | client | the client publishes at no QoS over the maximum
3.2.2-12 | server | a will of a QoS over the maximum is refused with 0x9B
3.2.2-13 | server | a retained will is refused with 0x9A where nothing is retained
3.2.2-14 | client | a client does not publish retained where nothing is retained
3.2.2-15 | client | a client sends nothing over the server's Maximum Packet Size
3.2.2-16 | server | the assigned id is told and no other session's
3.2.2-17 | client | a client's aliases keep to the server's maximum
3.2.2-18 | client | a client uses no alias when the server allows none
3.2.2-19 | server | a reason string that makes CONNACK too large is left out
3.2.2-20 | built | user properties that make CONNACK too large are left out | the server has none of its own to send
3.2.2-21 | client | the client takes over the server's keep-alive
3.2.2-22 | server | without a server keep-alive the client's holds
3.3.1-1 | server | what is sent again carries DUP
3.3.1-2 | server | QoS 0 never carries DUP
3.3.1-3 | server | DUP is not passed on
3.3.1-4 | server | QoS 3 is malformed
3.3.1-5 | server | a retained publish replaces the retained message
3.3.1-6 | server | an empty retained publish passes and removes
3.3.1-7 | server | an empty message is not retained
3.3.1-8 | server | a publish without RETAIN leaves the retained message alone
3.3.1-9 | server | Retain Handling 0 sends the retained messages
3.3.1-10 | server | Retain Handling 1 sends them for a new subscription only
3.3.1-11 | server | Retain Handling 2 sends none
3.3.1-12 | server | without Retain As Published the flag goes out as 0
3.3.1-13 | server | with Retain As Published the flag goes out as it came
3.3.2-1 | server | PUBLISH begins with a topic in proper text
3.3.2-2 | server | no wildcards in a PUBLISH's topic
3.3.2-3 | server | what a client gets matches its filter
3.3.2-4 | server | the payload format goes on as it came
3.3.2-5 | server | what has expired is not sent
3.3.2-6 | server | the expiry counts down while a message waits
3.3.2-7 | server | aliases end with their connection
3.3.2-8 | server | alias 0 is never used
3.3.2-9 | client | a client's aliases keep to the server's maximum
3.3.2-10 | client | a client takes every alias up to its maximum
3.3.2-11 | server | the server's aliases keep to the client's maximum
3.3.2-12 | server | every alias up to the server's maximum is taken
3.3.2-13 | server | the response topic is proper text
3.3.2-14 | server | no wildcards in a response topic
3.3.2-15 | server | the response topic goes on as it came
3.3.2-16 | server | correlation data go on as they came
3.3.2-17 | server | user properties go on as they came
3.3.2-18 | server | user properties keep their order
3.3.2-19 | server | the content type is proper text
3.3.2-20 | server | the content type goes on as it came
3.3.4-1 | server | PUBLISH is answered as its QoS asks
3.3.4-2 | server | overlapping subscriptions deliver at their highest QoS
3.3.4-3 | server | subscription identifiers go with the message
3.3.4-4 | server | one copy carries all identifiers
3.3.4-5 | built | several copies carry their own identifiers | a client gets one copy; a share group's copy carries its own
3.3.4-6 | server | a client's PUBLISH has no subscription identifier
3.3.4-7 | client | a client keeps to the server's Receive Maximum
3.3.4-8 | client | only PUBLISH waits for the Receive Maximum
3.3.4-9 | server | the client's Receive Maximum is kept
3.3.4-10 | server | nothing but PUBLISH waits for the Receive Maximum
3.4.2-1 | server | PUBACK has a code of its list
3.4.2-2 | built | a reason string that makes PUBACK too large is left out | our acknowledgements carry no reason string
3.4.2-3 | built | user properties that make PUBACK too large are left out | our acknowledgements carry no user properties
3.5.2-1 | server | PUBREC has a code of its list
3.5.2-2 | built | a reason string that makes PUBREC too large is left out | our acknowledgements carry no reason string
3.5.2-3 | built | user properties that make PUBREC too large are left out | our acknowledgements carry no user properties
3.6.1-1 | server | PUBREL's flags are 0010
3.6.2-1 | server | PUBREL has a code of its list
3.6.2-2 | built | a reason string that makes PUBREL too large is left out | our acknowledgements carry no reason string
3.6.2-3 | built | user properties that make PUBREL too large are left out | our acknowledgements carry no user properties
3.7.2-1 | server | PUBCOMP has a code of its list
3.7.2-2 | built | a reason string that makes PUBCOMP too large is left out | our acknowledgements carry no reason string
3.7.2-3 | built | user properties that make PUBCOMP too large are left out | our acknowledgements carry no user properties
3.8.1-1 | server | SUBSCRIBE's flags are 0010
3.8.3-1 | server | filters are proper text
3.8.3-2 | server | SUBSCRIBE has at least one filter
3.8.3-3 | server | No Local keeps a client's messages from itself
3.8.3-4 | server | No Local on a shared subscription is a protocol error
3.8.3-5 | server | reserved subscription options are 0
3.8.4-1 | server | SUBSCRIBE is answered
3.8.4-2 | server | SUBACK has the request's id
3.8.4-3 | server | an equal filter replaces the subscription
3.8.4-4 | server | a replaced subscription gets retained messages again and loses none
3.8.4-5 | server | several filters count like several requests, with one answer
3.8.4-6 | server | SUBACK has a code for each filter
3.8.4-7 | server | the code is the QoS that is granted, or a failure
3.8.4-8 | server | delivery has the lower of both QoS
3.9.2-1 | built | a reason string that makes SUBACK too large is left out | SUBACK carries no reason string
3.9.2-2 | built | user properties that make SUBACK too large are left out | the server has none of its own to send
3.9.3-1 | server | SUBACK's codes are in the filters' order
3.9.3-2 | server | SUBACK's codes are of their list
3.10.1-1 | server | UNSUBSCRIBE's flags are 0010
3.10.3-1 | server | filters of UNSUBSCRIBE are proper text
3.10.3-2 | server | UNSUBSCRIBE has at least one filter
3.10.4-1 | server | filters are compared character by character and deleted
3.10.4-2 | server | nothing new is delivered for a deleted subscription
3.10.4-3 | server | QoS 1 and 2 under way are completed
3.10.4-4 | server | UNSUBSCRIBE is answered
3.10.4-5 | server | also when nothing was deleted, with the request's id
3.10.4-6 | server | several filters count like several requests, with one answer
3.11.2-1 | built | a reason string that makes UNSUBACK too large is left out | UNSUBACK carries no reason string
3.11.2-2 | built | user properties that make UNSUBACK too large are left out | the server has none of its own to send
3.11.3-1 | server | UNSUBACK's codes are in the filters' order
3.11.3-2 | server | UNSUBACK's codes are of their list
3.12.4-1 | server | PINGREQ is answered
3.14.0-1 | server | no DISCONNECT before a CONNACK that accepts
3.14.1-1 | server | DISCONNECT's reserved bits are 0
3.14.2-1 | server | DISCONNECT has a code of its list
3.14.2-2 | built | the server's DISCONNECT has no session expiry | its one encoder, encodeDisconnect, knows no such property
3.14.2-3 | server | a reason string that makes DISCONNECT too large is left out
3.14.2-4 | built | user properties that make DISCONNECT too large are left out | the server has none of its own to send
3.14.4-1 | server | nothing is sent after DISCONNECT
3.14.4-2 | server | the sender of DISCONNECT closes
3.14.4-3 | server | DISCONNECT 0x00 discards the will
3.15.1-1 | server | AUTH's flags are 0
3.15.2-1 | server | AUTH has a code of its list
3.15.2-2 | built | a reason string that makes AUTH too large is left out | our AUTH carries no reason string
3.15.2-3 | built | user properties that make AUTH too large are left out | the server has none of its own to send
4.1.0-1 | server | a session lives at least as long as its connection
4.1.0-2 | server | a session is gone after its expiry
4.2-1 | built | a transport is ordered and loses nothing | TCP, TLS, WebSocket and Unix stream sockets are
4.3.1-1 | server | QoS 0 goes out as QoS 0 without DUP
4.3.2-1 | server | QoS 1: a new message has an unused id
4.3.2-2 | server | QoS 1: it goes out with that id and without DUP
4.3.2-3 | server | QoS 1: it counts as open until PUBACK
4.3.2-4 | server | QoS 1: it is answered by PUBACK with its id
4.3.2-5 | server | QoS 1: after PUBACK the id stands for a new message
4.3.3-1 | server | QoS 2: a new message has an unused id
4.3.3-2 | server | QoS 2: it goes out with that id and without DUP
4.3.3-3 | server | QoS 2: it counts as open until PUBREC
4.3.3-4 | server | QoS 2: PUBREC is followed by PUBREL with that id
4.3.3-5 | server | QoS 2: PUBREL counts as open until PUBCOMP
4.3.3-6 | server | QoS 2: no PUBLISH again after PUBREL
4.3.3-7 | server | QoS 2: no expiry once sent
4.3.3-8 | server | QoS 2: it is answered by PUBREC with its id
4.3.3-9 | server | QoS 2: after a PUBREC that refuses the id stands for a new message
4.3.3-10 | server | QoS 2: a second PUBLISH is answered and not passed on
4.3.3-11 | server | QoS 2: PUBREL is answered by PUBCOMP with its id
4.3.3-12 | server | QoS 2: after PUBCOMP the id stands for a new message
4.3.3-13 | server | QoS 2: the exchange is completed although the message expired
4.4.0-1 | server | on resume, and only then, PUBLISH and PUBREL go out again with their ids
4.4.0-2 | server | an answer of 0x80 or more ends the exchange
4.5.0-1 | server | a message is added to the sessions that subscribed
4.5.0-2 | client | a client acknowledges what it receives
4.6.0-1 | client | a client sends again in order
4.6.0-2 | client | a client's PUBACKs are in order
4.6.0-3 | client | a client's PUBRECs are in order
4.6.0-4 | client | a client's PUBRELs are in order
4.6.0-5 | server | messages of one client, topic and QoS stay in order
4.6.0-6 | server | that holds for every topic
4.7.0-1 | server | no wildcards in a topic name
4.7.1-1 | server | # is the last level and alone in it
4.7.1-2 | server | + is alone in its level
4.7.2-1 | server | a wildcard in the first level does not match $ topics
4.7.3-1 | server | names and filters are not empty
4.7.3-2 | server | names and filters have no U+0000
4.7.3-3 | built | names and filters are at most 65,535 bytes | their length is a number of two bytes
4.7.3-4 | server | names and filters are compared as they are
4.8.2-1 | server | a shared filter begins with $share/ and a name
4.8.2-2 | server | that name has no / + # and a filter follows
4.8.2-3 | server | a share group's member gets the QoS it was granted
4.8.2-4 | server | QoS 2 under way is completed with the member it went to
4.8.2-5 | server | QoS 2 that went to a member goes to no other
4.8.2-6 | server | a refused message of a group goes to no other member
4.9.0-1 | server | the send quota begins at the Receive Maximum
4.9.0-2 | server | no QoS 1 and 2 without quota
4.9.0-3 | server | all other packets go on without quota
4.12.0-1 | server | an unknown method closes
4.12.0-2 | server | the server asks for more with 0x18
4.12.0-3 | server | the client answers with 0x18
4.12.0-4 | server | a failed authentication closes
4.12.0-5 | server | AUTH and CONNACK name the method of CONNECT
4.12.0-6 | server | no AUTH and no method to a client that named none
4.12.0-7 | server | a client that named no method sends no AUTH
4.12.1-1 | server | a client authenticates again by the same method
4.12.1-2 | server | failing at that is told by DISCONNECT
4.13.1-1 | server | a malformed packet or protocol error closes
4.13.2-1 | server | a code of 0x80 or more in CONNACK or DISCONNECT closes
6.0.0-1 | server | WebSocket: other than binary messages close
6.0.0-2 | server | WebSocket: packets and messages need not align
6.0.0-3 | server | WebSocket: the client offers the subprotocol mqtt
6.0.0-4 | server | WebSocket: the server chooses the subprotocol mqtt
`;

const v3 = `
1.5.3-1 | server | text is well-formed UTF-8 without surrogates | 1.5.4-1
1.5.3-2 | server | text has no U+0000 | 1.5.4-2
1.5.3-3 | server | U+FEFF is a character like others and stays | 1.5.4-3
2.2.2-1 | server | reserved flag bits have their given value | 2.1.3-1
2.2.2-2 | server | wrong flags close | 2.1.3-1
2.3.1-1 | client | SUBSCRIBE, UNSUBSCRIBE and PUBLISH carry an id other than 0 | 2.2.1-3
2.3.1-2 | client | a new packet has an unused id
2.3.1-3 | client | a packet that is sent again keeps its id
2.3.1-4 | server | the same holds for the server's PUBLISH | 2.2.1-4
2.3.1-5 | built | a PUBLISH of QoS 0 has no packet id | the two bytes are read and written only for QoS 1 and 2
2.3.1-6 | server | PUBACK, PUBREC, PUBREL carry the PUBLISH's id | 2.2.1-5
2.3.1-7 | server | SUBACK and UNSUBACK carry the request's id | 2.2.1-6
3.1.0-1 | server | a connection begins with CONNECT | 3.1.0-1
3.1.0-2 | server | a second CONNECT closes | 3.1.0-2
3.1.2-1 | server | another protocol name closes | 3.1.2-1
3.1.2-2 | server | another protocol level: CONNACK 1 and close | 3.1.2-2
3.1.2-3 | server | the reserved CONNECT flag is 0 | 3.1.2-3
3.1.2-4 | server | Clean Session 0: an existing session goes on, and is kept | 3.1.2-5, 3.1.2-6
3.1.2-5 | server | Clean Session 0: QoS 1 and 2 are kept while the client is away | 3.1.2-5, 4.5.0-1
3.1.2-6 | server | Clean Session 1: the old session is discarded, the new one not kept | 3.1.2-4
3.1.2-7 | server | retained messages outlive sessions
3.1.2-8 | server | the will is published after a loss, not after DISCONNECT | 3.1.2-8
3.1.2-9 | server | a will flag brings will topic and message | 3.1.2-9
3.1.2-10 | server | a will is removed once published or after DISCONNECT | 3.1.2-10
3.1.2-11 | server | no will: QoS and retain are 0, the fields absent | 3.1.2-11, 3.1.2-13
3.1.2-12 | server | no will: none is published
3.1.2-13 | server | no will: will QoS is 0 | 3.1.2-11
3.1.2-14 | server | a will's QoS is not 3 | 3.1.2-12
3.1.2-15 | server | no will: will retain is 0 | 3.1.2-13
3.1.2-16 | server | a will that is not retained is published so | 3.1.2-14
3.1.2-17 | server | a will that is retained is published so | 3.1.2-15
3.1.2-18 | server | no user name without its flag | 3.1.2-16
3.1.2-19 | server | a user name with its flag | 3.1.2-17
3.1.2-20 | server | no password without its flag | 3.1.2-18
3.1.2-21 | server | a password with its flag | 3.1.2-19
3.1.2-22 | server | no password without a user name
3.1.2-23 | client | an idle client sends PINGREQ in time
3.1.2-24 | server | silence of one and a half keep-alives closes | 3.1.2-22
3.1.3-1 | server | the fields of CONNECT have their order | 3.1.3-1
3.1.3-2 | server | the client id names the session | 3.1.3-2
3.1.3-3 | server | the client id is there and comes first | 3.1.3-3
3.1.3-4 | server | the client id is proper text | 3.1.3-4
3.1.3-5 | server | ids of 1 to 23 letters and digits are taken | 3.1.3-5
3.1.3-6 | server | a client without an id gets a unique one | 3.1.3-6
3.1.3-7 | client | a client without an id asks for Clean Session
3.1.3-8 | server | without id and Clean Session: CONNACK 2 and close
3.1.3-9 | server | a refused id: CONNACK 2 and close | 3.1.3-8
3.1.3-10 | server | the will topic is proper text | 3.1.3-11
3.1.3-11 | server | the user name is proper text | 3.1.3-12
3.1.4-1 | server | a CONNECT that has not the format closes without CONNACK
3.1.4-2 | server | the older connection of an id is closed | 3.1.4-3
3.1.4-3 | server | Clean Session is processed | 3.1.4-4
3.1.4-4 | server | CONNACK 0 answers a CONNECT that is accepted | 3.1.4-5
3.1.4-5 | server | nothing after a refused CONNECT is processed | 3.1.4-6
3.2.0-1 | server | the first packet to a client is CONNACK | 3.2.0-1
3.2.2-1 | server | Clean Session 1: Session Present is 0 | 3.2.2-2
3.2.2-2 | server | Session Present tells whether there was a session | 3.2.2-3
3.2.2-3 | server | no session: Session Present is 0 | 3.2.2-3
3.2.2-4 | server | a refusal has Session Present 0 | 3.2.2-6
3.2.2-5 | server | a refusal closes | 3.2.2-7
3.2.2-6 | server | a refusal for which there is no code closes without CONNACK
3.3.1-1 | server | what is sent again carries DUP | 3.3.1-1
3.3.1-2 | server | QoS 0 never carries DUP | 3.3.1-2
3.3.1-3 | server | DUP is not passed on | 3.3.1-3
3.3.1-4 | server | QoS 3 closes | 3.3.1-4
3.3.1-5 | server | a retained publish is kept with its QoS | 3.3.1-5
3.3.1-6 | server | a new subscription gets the last retained message | 3.3.1-9
3.3.1-7 | server | a retained publish of QoS 0 discards the older message | 3.3.1-5
3.3.1-8 | server | a retained message to a new subscription carries RETAIN | 3.3.1-9
3.3.1-9 | server | to an existing subscription RETAIN goes out as 0 | 3.3.1-12
3.3.1-10 | server | an empty retained publish passes and removes | 3.3.1-6
3.3.1-11 | server | an empty message is not retained | 3.3.1-7
3.3.1-12 | server | a publish without RETAIN leaves the retained message alone | 3.3.1-8
3.3.2-1 | server | PUBLISH begins with a topic in proper text | 3.3.2-1
3.3.2-2 | server | no wildcards in a PUBLISH's topic | 3.3.2-2
3.3.2-3 | server | what a client gets matches its filter | 3.3.2-3
3.3.4-1 | server | PUBLISH is answered as its QoS asks | 3.3.4-1
3.3.5-1 | server | overlapping subscriptions deliver at their highest QoS | 3.3.4-2
3.3.5-2 | server | a publish that is not allowed is acknowledged all the same, or closes
3.6.1-1 | server | PUBREL's flags are 0010 | 3.6.1-1
3.8.1-1 | server | SUBSCRIBE's flags are 0010 | 3.8.1-1
3.8.3-1 | server | filters are proper text | 3.8.3-1
3.8.3-2 | built | a server without wildcards refuses them | this one has them
3.8.3-3 | server | SUBSCRIBE has at least one filter | 3.8.3-2
3.8.3-4 | server | QoS is 0, 1 or 2 and the reserved bits are 0 | 3.8.3-5
3.8.4-1 | server | SUBSCRIBE is answered | 3.8.4-1
3.8.4-2 | server | SUBACK has the request's id | 3.8.4-2
3.8.4-3 | server | an equal filter replaces, gets retained messages again, loses none | 3.8.4-3, 3.8.4-4
3.8.4-4 | server | several filters count like several requests, with one answer | 3.8.4-5
3.8.4-5 | server | SUBACK has a code for each filter | 3.8.4-6
3.8.4-6 | server | delivery has the lower of both QoS | 3.8.4-8
3.9.3-1 | server | SUBACK's codes are in the filters' order | 3.9.3-1
3.9.3-2 | server | SUBACK's codes are 0, 1, 2 and 0x80 | 3.9.3-2
3.10.1-1 | server | UNSUBSCRIBE's flags are 0010 | 3.10.1-1
3.10.3-1 | server | filters of UNSUBSCRIBE are proper text | 3.10.3-1
3.10.3-2 | server | UNSUBSCRIBE has at least one filter | 3.10.3-2
3.10.4-1 | server | filters are compared character by character and deleted | 3.10.4-1
3.10.4-2 | server | nothing new is delivered for a deleted subscription | 3.10.4-2
3.10.4-3 | server | QoS 1 and 2 under way are completed | 3.10.4-3
3.10.4-4 | server | UNSUBSCRIBE is answered with its id | 3.10.4-4
3.10.4-5 | server | also when nothing was deleted | 3.10.4-5
3.10.4-6 | server | several filters count like several requests, with one answer | 3.10.4-6
3.12.4-1 | server | PINGREQ is answered | 3.12.4-1
3.14.1-1 | server | DISCONNECT's reserved bits are 0 | 3.14.1-1
3.14.4-1 | client | a client closes after DISCONNECT
3.14.4-2 | client | a client sends nothing after DISCONNECT
3.14.4-3 | server | DISCONNECT discards the will | 3.14.4-3
4.1.0-1 | server | a session lives at least as long as its connection | 4.1.0-1
4.1.0-2 | server | and as long as Clean Session 0 asks | 3.1.2-5
4.2.0-1 | built | a transport is ordered and loses nothing | TCP, TLS, WebSocket and Unix stream sockets are
4.3.1-1 | server | QoS 0 goes out as QoS 0 without DUP | 4.3.1-1
4.3.2-1 | server | QoS 1 out: unused id, no DUP, open until PUBACK | 4.3.2-1, 4.3.2-2, 4.3.2-3
4.3.2-2 | server | QoS 1 in: PUBACK with the id, which then is free | 4.3.2-4, 4.3.2-5
4.3.3-1 | server | QoS 2 out: unused id, no DUP, PUBREL after PUBREC, open until PUBCOMP | 4.3.3-1, 4.3.3-2, 4.3.3-4, 4.3.3-5, 4.3.3-6
4.3.3-2 | server | QoS 2 in: PUBREC, no second delivery, PUBCOMP, then the id is free | 4.3.3-8, 4.3.3-10, 4.3.3-11, 4.3.3-12
4.4.0-1 | server | on resume PUBLISH and PUBREL go out again with their ids | 4.4.0-1
4.5.0-1 | server | a message is added to the sessions that subscribed | 4.5.0-1
4.5.0-2 | client | a client acknowledges what it receives
4.6.0-1 | client | a client sends again in order
4.6.0-2 | client | a client's PUBACKs are in order
4.6.0-3 | client | a client's PUBRECs are in order
4.6.0-4 | client | a client's PUBRELs are in order
4.6.0-5 | server | every topic is ordered | 4.6.0-6
4.6.0-6 | server | messages of one client, topic and QoS stay in order | 4.6.0-5
4.7.1-1 | server | no wildcards in a topic name | 4.7.0-1
4.7.1-2 | server | # is the last level and alone in it | 4.7.1-1
4.7.1-3 | server | + is alone in its level | 4.7.1-2
4.7.2-1 | server | a wildcard in the first level does not match $ topics | 4.7.2-1
4.7.3-1 | server | names and filters are not empty | 4.7.3-1
4.7.3-2 | server | names and filters have no U+0000 | 4.7.3-2
4.7.3-3 | built | names and filters are at most 65,535 bytes | their length is a number of two bytes
4.7.3-4 | server | names and filters are compared as they are | 4.7.3-4
4.8.0-1 | server | a violation of the protocol closes | 4.13.1-1
4.8.0-2 | built | a passing error while a packet is handled closes its connection | an exception while a packet is handled ends that connection alone and is counted
6.0.0-1 | server | WebSocket: other than binary messages close | 6.0.0-1
6.0.0-2 | server | WebSocket: packets and messages need not align | 6.0.0-2
6.0.0-3 | server | WebSocket: the client offers the subprotocol mqtt | 6.0.0-3
6.0.0-4 | server | WebSocket: the server chooses the subprotocol mqtt | 6.0.0-4
`;

export const clauses: Readonly<Record<"v5" | "v3.1.1", readonly Clause[]>> = {
  v5: read(v5),
  "v3.1.1": read(v3),
};

function read(lines: string): Clause[] {
  return lines.trim().split("\n").map(readLine);
}

function readLine(line: string): Clause {
  const [id = "", kind, words = "", last = ""] = line.split(" | ");
  if (kind !== "server" && kind !== "client" && kind !== "built") throw new Error(line);
  if ((kind === "built") !== (last !== "" && !/^\d/.test(last))) throw new Error(`why? ${line}`);
  const same = kind === "built" || last === "" ? [] : last.split(", ");
  return { id, kind, words, why: kind === "built" ? last : "", same };
}
