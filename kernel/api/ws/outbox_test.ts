import assert from "node:assert/strict";
import { settle, TestingClock } from "../../../sandbox/testing_clock.ts";
import { Outbox, pollMs, postedWindows, slowestBytesPerSecond, waitingCharsMax } from "./outbox.ts";

/** A socket whose reader takes what the test says. */
class Socket {
  bufferedAmount = 0;
  readyState: number = WebSocket.OPEN;
  readonly sent: string[] = [];

  send(text: string): void {
    if (this.readyState !== WebSocket.OPEN) throw new DOMException("not open", "InvalidStateError");
    this.sent.push(text);
    this.bufferedAmount += text.length;
  }

  take(bytes: number): void {
    this.bufferedAmount = Math.max(0, this.bufferedAmount - bytes);
  }
}

function createOutbox() {
  const [socket, clock, given] = [new Socket(), new TestingClock(), { up: 0 }];
  const outbox = new Outbox({ socket, clock, bytesMax: 10, timeoutMs: 1_000, tooSlow: () => given.up++ });
  return { socket, clock, given, outbox };
}

Deno.test("Outbox.send() resolves at once where there is room, and else when there is some", async () => {
  const { socket, clock, outbox } = createOutbox();
  await outbox.send("0123456789");
  assert.ok(outbox.isBusy);
  let isSent = false;
  const sending = outbox.send("second").then(() => isSent = true);
  outbox.post("third");
  await clock.pass(5 * pollMs);
  assert.deepEqual([isSent, socket.sent.length, clock.pendingMs], [false, 1, [pollMs]]);
  socket.take(1);
  await clock.pass(pollMs);
  await sending;
  assert.deepEqual(socket.sent, ["0123456789", "second"]);
  socket.take(20);
  await clock.pass(pollMs);
  assert.deepEqual([socket.sent.at(-1), clock.isTimerSet], ["third", false]);
});

Deno.test("Outbox.take() calls a turn when it has come, with the room there is", async () => {
  const { socket, clock, outbox } = createOutbox();
  await outbox.send("0123456789");
  const rooms: number[] = [];
  const turn = outbox.take((bytesMax) => {
    rooms.push(bytesMax);
    return ["a", "b"];
  });
  const failing = assert.rejects(outbox.take(() => {
    throw new Error("its cursor failed");
  }));
  await settle();
  assert.deepEqual(rooms, []);
  socket.take(4);
  await clock.pass(pollMs);
  await Promise.all([turn, failing]);
  assert.deepEqual([rooms, socket.sent], [[4], ["0123456789", "a", "b"]]);
});

Deno.test("Outbox gives up a reader who takes nothing for timeoutMs while something waits", async () => {
  const { socket, clock, given, outbox } = createOutbox();
  await outbox.send("0123456789");
  await clock.pass(10_000);
  // Nothing waits.
  assert.equal(given.up, 0);
  const sending = outbox.send("x".repeat(30));
  for (let taken = 0; taken < 5; taken++) {
    await clock.pass(900);
    socket.take(1);
    void outbox.send("y".repeat(11));
  }
  assert.equal(given.up, 0);
  await clock.pass(2_000);
  await sending;
  assert.deepEqual([given.up, clock.isTimerSet], [1, false]);
  await outbox.send("after");
  outbox.post("after");
  assert.ok(!socket.sent.includes("after"));
});

// A client may ask on and on and read nothing of the answers.
Deno.test("Outbox gives up a reader who lets too much wait of what nobody waits for", async () => {
  const { socket, given, outbox } = createOutbox();
  outbox.post("0123456789");
  for (let count = 0; count < postedWindows * 10; count++) outbox.post("a");
  assert.deepEqual([given.up, socket.sent.length], [0, 1]);
  outbox.post("a");
  assert.equal(given.up, 1);
  await outbox.send("after");
  assert.equal(socket.sent.length, 1);
});

// A message leaves the socket's count when all of it has left: a long one looks like no progress.
Deno.test("Outbox gives what is on its way the time that it takes at the slowest rate", async () => {
  const { socket, clock, given, outbox } = createOutbox();
  await outbox.send("x".repeat(10 * slowestBytesPerSecond));
  void outbox.send("next");
  await clock.pass(10_000 + 1_000 - pollMs);
  assert.equal(given.up, 0);
  await clock.pass(pollMs);
  assert.deepEqual([given.up, clock.isTimerSet, socket.sent.length], [1, false, 1]);
});

// The peer's close frame arrives before its end is told, and a throw there would end the kernel.
Deno.test("Outbox does not throw when its socket is not open any more, whatever it sends", async () => {
  for (const readyState of [WebSocket.CONNECTING, WebSocket.CLOSING, WebSocket.CLOSED]) {
    const { socket, clock, outbox } = createOutbox();
    await outbox.send("0123456789");
    const waiting = outbox.send("waits");
    outbox.post("waits too");
    socket.readyState = readyState;
    socket.take(10);
    await clock.pass(pollMs);
    await waiting;
    outbox.post("posted");
    await outbox.send("sent");
    await outbox.take(() => ["taken"]);
    assert.deepEqual([socket.sent, clock.isTimerSet], [["0123456789"], false]);
  }
});

Deno.test("Outbox counts the texts that wait, and gives up a reader who lets too much wait", async () => {
  const { socket, clock, given, outbox } = createOutbox();
  await outbox.send("0123456789");
  const large = "x".repeat(waitingCharsMax / 4);
  const sent = [outbox.send(large), outbox.send(large)];
  assert.equal(outbox.waitingChars, 2 * large.length);
  socket.take(10);
  await clock.pass(pollMs);
  await sent[0];
  assert.equal(outbox.waitingChars, large.length);
  sent.push(outbox.send(large), outbox.send(large), outbox.send(large));
  assert.deepEqual([given.up, outbox.waitingChars], [0, waitingCharsMax]);
  sent.push(outbox.send("x"));
  await Promise.all(sent);
  assert.deepEqual([given.up, outbox.waitingChars, clock.isTimerSet], [1, 0, false]);
});

Deno.test("Outbox.close() lets go of who waits, and of the timer", async () => {
  const { socket, clock, given, outbox } = createOutbox();
  await outbox.send("0123456789");
  const sending = Promise.all([outbox.send("a"), outbox.take(() => ["b"])]);
  outbox.close();
  outbox.close();
  await sending;
  assert.deepEqual([socket.sent.length, clock.isTimerSet, given.up], [1, false, 0]);
});
