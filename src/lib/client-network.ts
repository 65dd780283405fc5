import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/** The network of every address that cannot be parsed. */
const unknownNetwork = 'unknown'

/** How many characters of an address are examined, with zone and port. Zones of real systems have at most 15 characters. */
const addressMaxLength = 80

/** Some proxies append the port of the client: `192.0.2.1:5678`, `[2001:db8::1]:5678`. */
const withPort = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/

/** An address without port and zone. The zone names an interface of this machine (RFC 4007, section 11), not the client. */
function withoutPortAndZone (address: string): string {
  const start = address.slice(0, addressMaxLength)
  const [, v6 = start, v4 = v6] = withPort.exec(start) ?? []
  return v4.replace(/%.*$/s, '')
}

/**
 * The smallest network whose addresses one client can choose from: a single IPv4 address, also
 * when it is written as IPv6 (RFC 4291, section 2.5.5.2), or the first 64 bits of an IPv6
 * address, because every customer gets at least a /64 (RFC 6177, RFC 7421).
 *
 * @param address from the socket or a trusted proxy
 * @returns `192.0.2.1`, `2001:db8::/64`, or `unknown`
 */
export function clientNetwork (address = ''): string {
  const plain = withoutPortAndZone(address)
  if (isIP(plain) === 0) return unknownNetwork
  const parsed = ipaddr.process(plain)
  if (!(parsed instanceof ipaddr.IPv6)) return parsed.toString()
  // Many clients share a translator: the IPv4 address inside counts (RFC 6052, section 2.1).
  if (parsed.range() === 'rfc6052') return new ipaddr.IPv4(parsed.toByteArray().slice(12)).toString()
  return `${new ipaddr.IPv6([...parsed.parts.slice(0, 4), 0, 0, 0, 0]).toString()}/64`
}

/** What is wrong with an address that somebody types, as the end of a sentence; undefined when nothing is. */
export function addressProblem (address: string): string | undefined {
  if (isIP(address) === 0) return 'must be an IPv4 or IPv6 address'
}

/** An address for logs; `unknown` when it cannot be parsed. Removes a zone that is too long: the client can choose it. */
export function printableAddress (address = ''): string {
  if (address.length <= addressMaxLength && isIP(address) !== 0) return address
  const plain = withoutPortAndZone(address)
  return isIP(plain) === 0 ? unknownNetwork : plain
}

/**
 * The largest network that one customer gets: a single IPv4 address, or the first 48 bits of an
 * IPv6 address (RFC 6177, section 2). Fair sharing must use this one: a single customer can have
 * thousands of /64 networks.
 *
 * @returns `192.0.2.1`, `2001:db8::/48`, or `unknown`
 */
export function clientSite (address = ''): string {
  const network = clientNetwork(address)
  if (!network.endsWith('/64')) return network
  const [first = 0, second = 0, third = 0] = ipaddr.IPv6.parse(network.slice(0, -3)).parts
  return `${new ipaddr.IPv6([first, second, third, 0, 0, 0, 0, 0]).toString()}/48`
}
