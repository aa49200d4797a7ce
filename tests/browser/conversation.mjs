// What MQTT.js does with the broker, in Node.js as in a browser: each entry is one check.
// SPDX-License-Identifier: MIT OR Apache-2.0

const WAIT_MS = 15000;

/** An awaitable event with a bound. */
function once(emitter, event, what = event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what} in ${WAIT_MS} ms`)), WAIT_MS);
    emitter.once(event, (...values) => {
      clearTimeout(timer);
      resolve(values);
    });
  });
}

function equal(got, expected, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
  if (a !== b) {
    throw new Error(`${what}: expected ${b.slice(0, 300)}, got ${`${a}`.slice(0, 300)}`);
  }
}

function bytes(size) {
  return Uint8Array.from({ length: size }, (_, i) => (i * 7) % 251);
}

function same(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** A connected client whose messages are kept in order. */
class Peer {
  static async open(world, options = {}) {
    const peer = new Peer();
    peer.messages = [];
    peer.client = world.mqtt.connect(world.url, {
      protocolVersion: world.version, reconnectPeriod: 0, connectTimeout: WAIT_MS,
      clientId: `js-${world.id++}-${world.tag}`, ...world.options, ...options,
    });
    world.peers.push(peer);
    const refused = once(peer.client, 'error').then(([error]) => { throw error; });
    refused.catch(() => {});
    peer.client.on('message', (topic, payload, packet) => {
      peer.messages.push(packet);
      peer.client.emit('counted');
    });
    [peer.connack] = await Promise.race([once(peer.client, 'connect'), refused]);
    return peer;
  }

  async receive(count) {
    while (this.messages.length < count) {
      await once(this.client, 'counted', `message ${this.messages.length + 1} of ${count}`);
    }
    equal(this.messages.length, count, 'number of messages');
    return this.messages;
  }

  /** Without a DISCONNECT. */
  async drop() {
    const closed = once(this.client, 'close');
    this.client.stream.destroy();
    await closed;
  }

  end() {
    return this.client.endAsync();
  }
}

async function everyQos(world) {
  const peer = await Peer.open(world);
  await peer.client.subscribeAsync(`${world.tag}/qos/#`, { qos: 2 });
  for (const qos of [0, 1, 2]) {
    await peer.client.publishAsync(`${world.tag}/qos/${qos}`, `at ${qos}`, { qos });
  }
  const got = await peer.receive(3);
  equal(got.map((m) => [m.topic, m.payload.toString(), m.qos]),
    [0, 1, 2].map((q) => [`${world.tag}/qos/${q}`, `at ${q}`, q]), 'messages');
}

async function everySize(world) {
  const peer = await Peer.open(world);
  await peer.client.subscribeAsync(`${world.tag}/size/#`, { qos: 1 });
  const sizes = [0, 1, 125, 126, 127, 128, 16383, 16384, 65535, 65536, 1 << 20];
  for (const size of sizes) {
    await peer.client.publishAsync(`${world.tag}/size/${size}`, bytes(size), { qos: 1 });
  }
  const got = await peer.receive(sizes.length);
  const wrong = got.filter((m, i) => !same(m.payload, bytes(sizes[i])));
  equal(wrong.map((m) => m.topic), [], 'payloads that came out changed');
}

async function retained(world) {
  const peer = await Peer.open(world);
  await peer.client.publishAsync(`${world.tag}/kept`, 'kept', { qos: 1, retain: true });
  await peer.client.subscribeAsync(`${world.tag}/kept`, { qos: 1 });
  const [message] = await peer.receive(1);
  equal([message.payload.toString(), message.retain], ['kept', true], 'the retained message');
  await peer.client.publishAsync(`${world.tag}/kept`, '', { qos: 1, retain: true });
}

async function wills(world) {
  const watcher = await Peer.open(world);
  await watcher.client.subscribeAsync(`${world.tag}/will/+`, { qos: 1 });
  const will = (name) => ({ will: { topic: `${world.tag}/will/${name}`, payload: name, qos: 1 } });
  const calm = await Peer.open(world, will('calm'));
  const torn = await Peer.open(world, will('torn'));
  await calm.end();
  await torn.drop();
  const [message] = await watcher.receive(1);
  equal(message.payload.toString(), 'torn', 'the will');
}

async function sessions(world) {
  const keep = { clean: false, clientId: `js-keep-${world.tag}` };
  if (world.version === 5) {
    keep.properties = { sessionExpiryInterval: 100 };
  }
  const first = await Peer.open(world, keep);
  equal(first.connack.sessionPresent, false, 'session present at first');
  await first.client.subscribeAsync(`${world.tag}/missed`, { qos: 1 });
  await first.drop();
  const source = await Peer.open(world);
  await source.client.publishAsync(`${world.tag}/missed`, 'missed', { qos: 1 });
  const second = await Peer.open(world, keep);
  equal(second.connack.sessionPresent, true, 'session present later');
  const [message] = await second.receive(1);
  equal(message.payload.toString(), 'missed', 'what came meanwhile');
}

async function bursts(world) {
  const count = 2000;
  const [watcher, source] = [await Peer.open(world), await Peer.open(world)];
  await watcher.client.subscribeAsync(`${world.tag}/burst`, { qos: 1 });
  const sent = [];
  for (let i = 0; i < count; i++) {
    sent.push(source.client.publishAsync(`${world.tag}/burst`, `${i}`, { qos: 1 }));
  }
  await Promise.all(sent);
  const got = await watcher.receive(count);
  const first = got.findIndex((m, i) => m.payload.toString() !== `${i}`);
  equal(first, -1, 'first message out of order');
}

async function properties(world) {
  if (world.version !== 5) {
    return;
  }
  const peer = await Peer.open(world, { properties: { topicAliasMaximum: 5 } });
  await peer.client.subscribeAsync(`${world.tag}/props`,
    { qos: 1, properties: { subscriptionIdentifier: 7 } });
  const sent = {
    contentType: 'text/plain', responseTopic: 'answers', userProperties: { key: ['one', 'two'] },
    messageExpiryInterval: 60, payloadFormatIndicator: true,
  };
  await peer.client.publishAsync(`${world.tag}/props`, 'x', {
    qos: 1, properties: { ...sent, correlationData: new TextEncoder().encode('c-1') },
  });
  const [{ properties: got }] = await peer.receive(1);
  equal([got.contentType, got.responseTopic, got.correlationData.toString(), got.userProperties,
    got.messageExpiryInterval, got.payloadFormatIndicator, [got.subscriptionIdentifier].flat()],
  ['text/plain', 'answers', 'c-1', sent.userProperties, 60, true, [7]], 'properties');
}

const CHECKS = { everyQos, everySize, retained, wills, sessions, bursts, properties };

/** Runs every check in versions 5 and 3.1.1; calls report(name, error or null) for each. */
export async function converse(mqtt, url, options, report) {
  for (const version of [5, 4]) {
    for (const [name, check] of Object.entries(CHECKS)) {
      const tag = `${Math.random().toString(16).slice(2, 10)}`;
      const world = { mqtt, url, options, version, tag, id: 0, peers: [] };
      let error = null;
      try {
        await check(world);
      } catch (reason) {
        error = reason;
      }
      for (const peer of world.peers) {
        peer.client.on('error', () => {});
        peer.client.end(true);
      }
      await report(`${name} ${version === 5 ? '5.0' : '3.1.1'}`, error);
    }
  }
}
