import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/** What stands for an address that cannot be read: all of them share it. */
const unreadable = 'unknown'

/** Some proxies add the port of the client: `192.0.2.1:5678`, `[2001:db8::1]:5678`. */
const withPort = /^(?:\[([\da-f:.%]+)\](?::\d+)?|([\d.]+):\d+)$/i

/**
 * The network that an address belongs to, as whoever holds it can choose among its
 * addresses: an IPv4 address by itself, also where it is written as IPv6 (RFC 4291,
 * section 2.5.5.2); of an IPv6 address the first 64 bits, which is what a single customer
 * gets at the least (RFC 6177, RFC 7421).
 *
 * @param address as the peer or a trusted proxy gives it
 */
export function networkOf (address = ''): string {
  const [, v6 = address, v4 = v6] = withPort.exec(address) ?? []
  if (isIP(v4) === 0) return unreadable
  const parsed = ipaddr.process(v4)
  if (!(parsed instanceof ipaddr.IPv6)) return parsed.toString()
  return `${new ipaddr.IPv6([...parsed.parts.slice(0, 4), 0, 0, 0, 0]).toString()}/64`
}
