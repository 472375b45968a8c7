/** What an item needs to be in a list: its links, which only the list touches. */
export interface Linked<Item> {
  previous: Item | undefined;
  next: Item | undefined;
}

/** A list whose items carry their own links, so that each joins and leaves in constant time. An item is in one list at a time. */
export class LinkedList<Item extends Linked<Item>> implements Iterable<Item> {
  #first: Item | undefined;
  #last: Item | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Item | undefined {
    return this.#first;
  }

  pushBack(item: Item): void {
    item.previous = this.#last;
    if (this.#last === undefined) this.#first = item;
    else this.#last.next = item;
    this.#last = item;
    this.#size++;
  }

  pushFront(item: Item): void {
    item.next = this.#first;
    if (this.#first === undefined) this.#last = item;
    else this.#first.previous = item;
    this.#first = item;
    this.#size++;
  }

  /** The item must be in this list. */
  remove(item: Item): void {
    if (item.previous === undefined) this.#first = item.next;
    else item.previous.next = item.next;
    if (item.next === undefined) this.#last = item.previous;
    else item.next.previous = item.previous;
    item.previous = undefined;
    item.next = undefined;
    this.#size--;
  }

  /** The item that many steps behind the first. */
  at(steps: number): Item | undefined {
    let item = this.#first;
    for (let step = 0; step < steps; step++) item = item?.next;
    return item;
  }

  /** Its items may leave while it is gone through, but only the one that was reached last. */
  *[Symbol.iterator](): Iterator<Item> {
    for (let item = this.#first; item !== undefined;) {
      const { next } = item;
      yield item;
      item = next;
    }
  }
}
