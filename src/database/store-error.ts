/** The database could not be opened; `message` is one line for the operator. */
export class StoreError extends Error {
  override name = 'StoreError'
}
