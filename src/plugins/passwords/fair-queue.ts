/**
 * A queue in which flows take turns: however many items one flow has, the next item of another
 * flow waits for at most one item of each.
 *
 * @see RFC 970 (fair queueing, by its inventor)
 */
export function fairQueue<Item> () {
  /** The items of each flow, oldest first; the flows in the order of their turns. None is empty. */
  const flows = new Map<string, Item[]>()
  let length = 0

  return {
    length: () => length,

    /** How many items are of a kind. */
    count (isOfKind: (item: Item) => boolean): number {
      return [...flows.values()].flat().filter(isOfKind).length
    },

    push (flow: string, item: Item): void {
      const items = flows.get(flow)
      if (items === undefined) flows.set(flow, [item])
      else items.push(item)
      length++
    },

    /** Removes and returns the oldest item of the first flow, which then becomes the last. */
    shift (): Item | undefined {
      const [first] = flows
      if (first === undefined) return undefined
      const [flow, items] = first
      flows.delete(flow)
      if (items.length > 1) flows.set(flow, items)
      length--
      return items.shift()
    },

    /** Removes an item. */
    remove (item: Item): void {
      for (const [flow, items] of flows) {
        const index = items.indexOf(item)
        if (index === -1) continue
        items.splice(index, 1)
        length--
        if (items.length === 0) flows.delete(flow)
      }
    },

    /**
     * Which item to drop from a full queue for a new item of a flow ("longest queue drop"): the
     * newest of the longest flow, if the new item's flow stays no longer than that one.
     * Undefined: the new item itself.
     *
     * @param isOfKind only items of this kind are counted and dropped
     */
    surplus (flow: string, isOfKind: (item: Item) => boolean): Item | undefined {
      const own = (flows.get(flow) ?? []).filter(isOfKind)
      let most = own
      for (const items of flows.values()) {
        const some = items.filter(isOfKind)
        if (some.length > most.length) most = some
      }
      return most.length > own.length + 1 ? most.at(-1) : undefined
    }
  }
}
