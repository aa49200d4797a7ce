// MQTT.js in Node.js: node_client.mjs MODULES URL [CA-FILE]; one line for each check.
// SPDX-License-Identifier: MIT OR Apache-2.0
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { converse } from './conversation.mjs';

const [modules, url, authority] = process.argv.slice(2);
const mqtt = createRequire(`${modules}/`)('mqtt');
const options = authority ? { ca: readFileSync(authority), rejectUnauthorized: true } : {};
await converse(mqtt, url, options, (name, error) => {
  console.log(error ? `FAIL ${name}: ${error.message}` : `ok ${name}`);
});
console.log('done');
process.exit(0);
