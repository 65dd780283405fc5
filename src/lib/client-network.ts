import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/** What stands for an address that cannot be read: all of them share it. */
const unreadable = 'unknown'

/** Of an address, with its zone and its port, no more than this is looked at; zones of real systems have 15 characters at most. */
const addressMaxLength = 80

/** Some proxies add the port of the client: `192.0.2.1:5678`, `[2001:db8::1]:5678`. */
const withPort = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/

/** An address without its port and its zone, which says by which of our interfaces it came (RFC 4007, section 11), nothing of the other side. */
function bare (address: string): string {
  const start = address.slice(0, addressMaxLength)
  const [, v6 = start, v4 = v6] = withPort.exec(start) ?? []
  return v4.replace(/%.*$/s, '')
}

/**
 * The network that an address belongs to, as whoever holds it can choose among its
 * addresses: an IPv4 address by itself, also where it is written as IPv6 (RFC 4291,
 * section 2.5.5.2); of an IPv6 address the first 64 bits, which is what a single customer
 * gets at the least (RFC 6177, RFC 7421).
 *
 * @param address as the peer or a trusted proxy gives it
 */
export function clientNetwork (address = ''): string {
  const plain = bare(address)
  if (isIP(plain) === 0) return unreadable
  const parsed = ipaddr.process(plain)
  if (!(parsed instanceof ipaddr.IPv6)) return parsed.toString()
  // A translator stands for many customers: what it translates from counts (RFC 6052, section 2.1).
  if (parsed.range() === 'rfc6052') return new ipaddr.IPv4(parsed.toByteArray().slice(12)).toString()
  return `${new ipaddr.IPv6([...parsed.parts.slice(0, 4), 0, 0, 0, 0]).toString()}/64`
}

/** An address as it can be written down: what is none may be anything, whoever sent it, and a zone may be of any length. */
export function printableAddress (address = ''): string {
  const plain = bare(address)
  if (isIP(plain) === 0) return unreadable
  return address.length > addressMaxLength || isIP(address) === 0 ? plain : address
}

/**
 * The largest network that one customer is given: an IPv4 address by itself, and of an IPv6
 * address the first 48 bits (RFC 6177, section 2). Whoever shares something by network shares
 * it by this one: of the others a single customer has thousands.
 */
export function clientSite (address = ''): string {
  const network = clientNetwork(address)
  if (!network.endsWith('/64')) return network
  const [first = 0, second = 0, third = 0] = ipaddr.IPv6.parse(network.slice(0, -3)).parts
  return `${new ipaddr.IPv6([first, second, third, 0, 0, 0, 0, 0]).toString()}/48`
}
