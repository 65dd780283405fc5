import pg from 'pg'

/** SCRAM with channel binding. @see https://www.rfc-editor.org/rfc/rfc7677 */
const bindingMechanism = 'SCRAM-SHA-256-PLUS'

/**
 * A connection that only takes a server which proves that it knows the password, and that the TLS
 * channel ends at it: `channel_binding=require`. The driver by itself uses channel binding where
 * the server offers it, but also answers a server that offers none, or asks for no proof at all.
 * The password is never sent.
 *
 * @see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-CHANNEL-BINDING
 */
export class ChannelBindingClient extends pg.Client {
  constructor (config?: pg.ClientConfig) {
    super(config)
    let isOffered = false
    let isProven = false
    // The server may have sent more already.
    const ignoreReady = () => { this.connection.removeAllListeners('readyForQuery') }
    const reject = () => {
      ignoreReady()
      this.connection.stream.destroy(new Error('it does not support channel binding, which channel_binding=require asks for'))
    }
    // Before the driver's own listeners, which answer the server: they find the connection closed.
    this.connection
      .on('error', ignoreReady)
      .on('authenticationCleartextPassword', reject)
      .on('authenticationMD5Password', reject)
      .on('authenticationSASL', ({ mechanisms }: { mechanisms: string[] }) => {
        isOffered = mechanisms.includes(bindingMechanism)
        if (!isOffered) reject()
      })
      // The driver checks the proof next, and fails if it is wrong.
      .on('authenticationSASLFinal', () => { isProven = isOffered })
      .on('authenticationOk', () => { if (!isProven) reject() })
  }
}
