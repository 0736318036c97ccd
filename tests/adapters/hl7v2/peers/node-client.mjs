// Sends messages with node-hl7-client, one after the other, and prints "MSA-1 MSA-2" of each answer.
// node node-client.mjs FOLDER_WITH_NODE_MODULES PORT MESSAGE...
import { createRequire } from 'node:module'

const [folder, port, ...messages] = process.argv.slice(2)
const { Client, Message } = createRequire(`${folder}/`)('node-hl7-client')

const client = new Client({ host: '127.0.0.1' })
const connection = client.createConnection({ port: Number(port) }, async (response) => {
  const answer = response.getMessage()
  console.log(`${answer.get('MSA.1')} ${answer.get('MSA.2')}`)
  await next()
})
connection.on('connect', next)
connection.on('data.error', (error) => { console.error(error); process.exit(1) })

async function next () {
  const text = messages.shift()
  if (text === undefined) {
    await connection.close()
    process.exit(0)
  }
  await connection.sendMessage(new Message({ text }))
}
