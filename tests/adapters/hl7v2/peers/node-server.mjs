// Receives messages with node-hl7-server, answers AA and prints the MSH-10 of each.
// node node-server.mjs FOLDER_WITH_NODE_MODULES PORT
import { createRequire } from 'node:module'

const [folder, port] = process.argv.slice(2)
const { Server } = createRequire(`${folder}/`)('node-hl7-server')

const server = new Server({ bindAddress: '127.0.0.1' })
server.createInbound({ port: Number(port) }, async (request, response) => {
  console.log(String(request.getMessage().get('MSH.10')))
  await response.sendResponse('AA')
})
