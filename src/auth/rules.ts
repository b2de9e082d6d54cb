/**
 * What an authentication method may say about the topics of one client: rules that belong to this client
 * alone, handed on with the verdict. Who asks them, and in which order with the other rules, is decided
 * where topics are checked.
 */

/** The first rule that fits decides. */
export interface ClientRule {
  readonly allow: boolean;
  readonly action: "publish" | "subscribe" | "all";
  /** A topic filter, placeholders and all, as the method gave it. */
  readonly filter: string;
}
