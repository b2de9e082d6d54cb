/** The circuit breaker, and what errors of Redis mean. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CircuitBreaker } from "../../../src/store/redis/breaker.js";
import { detourOf, failureOf, isLoginFailure } from "../../../src/store/redis/failures.js";
import { HandClock } from "../support.js";

test("the breaker opens after failures in a row, and one call at a time tries again", async () => {
  const clock = new HandClock();
  const breaker = new CircuitBreaker(clock, { failures: 3, pauseMs: 100 });
  const fail = (): boolean => {
    assert.ok(breaker.admits());
    return breaker.failed();
  };
  assert.deepEqual([fail(), fail()], [false, false]);
  breaker.succeeded();
  assert.deepEqual([fail(), fail(), fail()], [false, false, true]);
  assert.equal(breaker.state, "open");
  assert.equal(breaker.admits(), false);
  await clock.advance(99);
  assert.equal(breaker.admits(), false);
  await clock.advance(1);
  assert.equal(breaker.admits(), true);
  assert.equal(breaker.state, "half-open");
  assert.equal(breaker.admits(), false);
  // One failure is enough now, and it is no news.
  assert.equal(breaker.failed(), false);
  assert.equal(breaker.state, "open");
  await clock.advance(100);
  assert.equal(breaker.admits(), true);
  breaker.succeeded();
  assert.deepEqual([breaker.state, breaker.admits(), breaker.admits()], ["closed", true, true]);
});

test("each error of Redis has its kind", () => {
  const kinds: [string, string][] = [
    ["OOM command not allowed when used memory > 'maxmemory'. script: x", "full"],
    ["ERR Error running script (call to f_x): @user_script:1: -OOM command not allowed", "full"],
    ["MISCONF Errors writing to the AOF file: No space left on device", "full"],
    ["READONLY You can't write against a read only replica.", "unavailable"],
    ["CLUSTERDOWN The cluster is down", "unavailable"],
    ["TRYAGAIN Multiple keys request during rehashing of slot", "unavailable"],
    ["LOADING Redis is loading the dataset in memory", "unavailable"],
    ["MASTERDOWN Link with MASTER is down", "unavailable"],
    ["NOREPLICAS Not enough good replicas to write.", "unavailable"],
    ["BUSY Redis is busy running a script", "unavailable"],
    ["WRONGTYPE Operation against a key holding the wrong kind of value", "broken"],
    ["Connection is closed.", "unavailable"],
  ];
  for (const [message, kind] of kinds)
    assert.equal(failureOf(new Error(message)).kind, kind, message);
  const detours = ["NOSCRIPT No matching script.", "MOVED 1 127.0.0.1:1", "ASK 1 127.0.0.1:1"];
  assert.deepEqual(
    detours.map((message) => detourOf(new Error(message))),
    ["no-script", "moved", "ask"],
  );
  assert.equal(detourOf(new Error("OOM ")), undefined);
  assert.ok(isLoginFailure("WRONGPASS invalid username-password pair or user is disabled."));
  assert.ok(!isLoginFailure("connect ECONNREFUSED"));
});

test("what Redis repeats of a command is not told", () => {
  const { why } = failureOf(
    new Error(
      "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'secret'",
    ),
  );
  assert.equal(why, "Redis: ERR unknown command 'HELLO'");
});
