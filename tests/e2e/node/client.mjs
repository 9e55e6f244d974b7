// A client made with the official TypeScript SDK: `client.mjs AGENT...` drives the agent through two connections, in the
// current directory, with all that it can; `client.mjs URL`, http: or ws:, one that it reaches over the network, with the
// bearer token in TOKEN. Each thing it learns is printed as one JSON line, `[name, value]`.
import { spawn } from "node:child_process";
import { promises as fs } from "node:fs";
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

const [command, ...rest] = process.argv.slice(2);
const cwd = process.cwd();
const { agent: ask, client: serve } = acp.methods;
const tell = (name, value) => process.stdout.write(JSON.stringify([name, value ?? null]) + "\n");
const text = (it) => [{ type: "text", text: it }];

class Terminals {
  #all = new Map();

  create({ command, args = [], cwd, env = [] }) {
    const variables = Object.fromEntries(env.map(({ name, value }) => [name, value]));
    const child = spawn(command, args, { cwd, env: { ...process.env, ...variables }, stdio: ["ignore", "pipe", "pipe"] });
    const it = { child, output: "", exit: null };
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (it.output += data));
    it.ended = new Promise((done) =>
      child.on("close", (exitCode, signal) => done((it.exit = { exitCode, signal }))),
    );
    const terminalId = `terminal-${this.#all.size + 1}`;
    this.#all.set(terminalId, it);
    return { terminalId };
  }

  get({ terminalId }) {
    const it = this.#all.get(terminalId);
    if (!it) throw acp.RequestError.resourceNotFound(terminalId);
    return it;
  }

  kill(params) {
    this.get(params).child.kill("SIGKILL");
    return {};
  }

  async release(params) {
    this.kill(params);
    await this.get(params).ended;
    this.#all.get(params.terminalId).released = true;
    return {};
  }

  get summary() {
    return [...this.#all.values()].map(({ released, exit }) => ({ released: released ?? false, ...exit }));
  }
}

// What the person and the editor do.
function editor(seen, terminals) {
  return acp
    .client({ name: "typescript-sdk" })
    .onNotification(serve.session.update, ({ params }) => void seen.push(params.update))
    .onRequest(serve.session.requestPermission, ({ params }) => {
      tell("permission", params.toolCall.title);
      const { optionId } = params.options.find(({ kind }) => kind === "allow_once");
      return { outcome: { outcome: "selected", optionId } };
    })
    .onRequest(serve.fs.readTextFile, async ({ params: { path, line = 1, limit } }) => {
      const content = await fs.readFile(path, "utf8").catch(() => {
        throw acp.RequestError.resourceNotFound(path);
      });
      if (line === 1 && limit == null) return { content };
      const from = (line ?? 1) - 1;
      const lines = content.split(/(?<=\n)/).slice(from, limit == null ? undefined : from + limit);
      return { content: lines.join("") };
    })
    .onRequest(serve.fs.writeTextFile, async ({ params }) => {
      await fs.writeFile(params.path, params.content);
      return {};
    })
    .onRequest(serve.terminal.create, ({ params }) => terminals.create(params))
    .onRequest(serve.terminal.output, ({ params }) => {
      const { output, exit } = terminals.get(params);
      return { output, truncated: false, exitStatus: exit };
    })
    .onRequest(serve.terminal.waitForExit, ({ params }) => terminals.get(params).ended)
    .onRequest(serve.terminal.kill, ({ params }) => terminals.kill(params))
    .onRequest(serve.terminal.release, ({ params }) => terminals.release(params))
    .onRequest(serve.elicitation.create, ({ params }) => {
      tell("form", Object.keys(params.requestedSchema.properties));
      return { action: "accept", content: { answer: "Ada" } };
    });
}

// A stream to the agent, how it is left, and how that has ended.
async function reached() {
  const headers = { authorization: `Bearer ${process.env.TOKEN}` };
  if (command.startsWith("http:")) {
    const { createHttpStream } = await import("@agentclientprotocol/sdk/experimental/http-client");
    return { stream: createHttpStream(command, { headers }), leave() {}, ended: 0 };
  }
  if (command.startsWith("ws:")) {
    const { createWebSocketStream } = await import("@agentclientprotocol/sdk/experimental/ws-client");
    const { WebSocket } = await import("./gateway/node_modules/ws/wrapper.mjs");
    return { stream: createWebSocketStream(command, { headers, WebSocket }), leave() {}, ended: 0 };
  }
  const child = spawn(command, rest, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((done) => child.on("exit", done));
  const stream = acp.ndJsonStream(Writable.toWeb(child.stdin), Readable.toWeb(child.stdout));
  return { stream, leave: () => child.stdin.end(), ended };
}

// One connection to the agent for the length of `work(agent, seen)`.
async function connected(work) {
  const { stream, leave, ended } = await reached();
  const seen = [];
  const terminals = new Terminals();
  await editor(seen, terminals).connectWith(stream, async (agent) => {
    const told = await agent.request(ask.initialize, {
      protocolVersion: acp.PROTOCOL_VERSION,
      clientInfo: { name: "typescript-sdk", version: "2" },
      clientCapabilities: {
        fs: { readTextFile: true, writeTextFile: true },
        terminal: true,
        elicitation: { form: {} },
        session: { notices: {}, compaction: {}, configOptions: { boolean: {} } },
      },
    });
    tell("initialized", told);
    await work(agent, seen);
  });
  leave();
  tell("ended", await ended);
  tell("terminals", terminals.summary);
}

const until = async (condition) => {
  while (!condition()) await new Promise(setImmediate);
};

let sessionId;
await connected(async (agent, seen) => {
  const opened = await agent.request(ask.session.new, { cwd, mcpServers: [] });
  sessionId = opened.sessionId;
  tell("opened", opened);
  tell("prompted", await agent.request(ask.session.prompt, { sessionId, prompt: text("Fix the greeting") }));

  for (const { id: modeId } of opened.modes?.availableModes ?? []) {
    tell("mode", [modeId, await agent.request(ask.session.setMode, { sessionId, modeId })]);
  }
  for (const option of opened.configOptions ?? []) {
    const value = option.type === "boolean" ? { type: "boolean", value: !option.currentValue } : { value: option.currentValue };
    const params = { sessionId, configId: option.id, ...value };
    tell("option", [option.id, await agent.request(ask.session.setConfigOption, params)]);
    if (value.type) await agent.request(ask.session.setConfigOption, { ...params, value: option.currentValue });
  }
  if (opened.modes) {
    await agent.request(ask.session.setMode, { sessionId, modeId: opened.modes.currentModeId });
  }

  const waiting = agent.request(ask.session.prompt, { sessionId, prompt: text("Wait") });
  await until(() => seen.some((it) => it.sessionUpdate === "agent_message_chunk" && it.content.text.includes("begin")));
  await agent.notify(ask.session.cancel, { sessionId });
  tell("cancelled", await waiting);

  const other = await agent.request(ask.session.new, { cwd, mcpServers: [] });
  seen.length = 0;
  const closing = agent.request(ask.session.prompt, { sessionId: other.sessionId, prompt: text("Wait") });
  await until(() => seen.some((it) => it.sessionUpdate === "agent_message_chunk"));
  tell("closed", await agent.request(ask.session.close, { sessionId: other.sessionId }));
  tell("closed turn", await closing);
  tell("deleted", await agent.request(ask.session.delete, { sessionId: other.sessionId }));
  tell("unknown", await agent.request(ask.session.prompt, { sessionId: "nobody", prompt: text("x") }).catch((it) => it.code));
});
await connected(async (agent, seen) => {
  tell("loaded", await agent.request(ask.session.load, { sessionId, cwd, mcpServers: [] }));
  tell("replayed", seen.slice());
  tell("went on", await agent.request(ask.session.prompt, { sessionId, prompt: text("Go on") }));
  tell("said", seen.filter((it) => it.sessionUpdate === "agent_message_chunk").at(-1).content.text);
  tell("listed", await agent.request(ask.session.list, { cwd }));
  tell("resumed", await agent.request(ask.session.resume, { sessionId, cwd }));
  tell("deleted", await agent.request(ask.session.delete, { sessionId }));
  tell("left", await agent.request(ask.session.list, {}));
});
