// MQTT.js publishes QoS 1 at 100/s and renews by AUTH meanwhile. One JSON object on stdin:
//   {port, id, method, topic, count, every, tokens: [...], seed}
// method OAUTH2-JWT takes one step; ace two, with an Ed25519 key, and publishes wait between them.
'use strict'
const crypto = require('crypto')
const mqtt = require(process.argv[2])
const job = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const isAce = job.method === 'ace'
const report = { connects: 0, renewed: 0, closes: 0, acked: 0, errors: [] }

const key = isAce && crypto.createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'),
    Buffer.from(job.seed, 'hex')]),
  format: 'der',
  type: 'pkcs8'
})

function data (token) {
  if (!isAce) return Buffer.from(token)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(token.length)
  return Buffer.concat([length, Buffer.from(token)])
}

function auth (reasonCode, authenticationData) {
  return { cmd: 'auth', reasonCode,
    properties: { authenticationMethod: job.method, authenticationData } }
}

const client = mqtt.connect({
  host: '127.0.0.1', port: job.port, protocolVersion: 5, clientId: job.id, reconnectPeriod: 0,
  properties: { authenticationMethod: job.method, authenticationData: data(job.tokens.shift()) }
})

let resume = null
client.handleAuth = (packet, callback) => {
  if (packet.reasonCode === 0x18) {
    const nonce = crypto.randomBytes(8)
    const proof = crypto.sign(null,
      Buffer.concat([packet.properties.authenticationData, nonce]), key)
    return callback(null, auth(0x18, Buffer.concat([nonce, proof])))
  }
  report.renewed++
  callback()
  if (resume) resume()
}

function renew () {
  client._sendPacket(auth(0x19, data(job.tokens.shift())))
  return isAce ? new Promise(resolve => { resume = resolve }) : Promise.resolve()
}

// Between the two steps of ace a client must not publish: wait until nothing is under way.
async function drained () {
  while (isAce && report.acked < sent) await new Promise(resolve => setTimeout(resolve, 1))
}

let sent = 0
async function run () {
  const begun = Date.now()
  while (sent < job.count) {
    if (sent % job.every === job.every / 2) { await drained(); await renew() }
    client.publish(job.topic, String(sent), { qos: 1 }, error => {
      if (error) report.errors.push(String(error))
      report.acked++
      if (report.acked === job.count) client.end()
    })
    sent++
    const ahead = begun + sent * 10 - Date.now()
    if (ahead > 0) await new Promise(resolve => setTimeout(resolve, ahead))
  }
}

client.on('connect', () => { if (report.connects++ === 0) run() })
client.on('error', error => { report.errors.push(String(error)); client.end(true) })
client.on('close', () => {
  if (report.acked < job.count) report.closes++
  console.log(JSON.stringify(report))
  process.exit(0)
})
