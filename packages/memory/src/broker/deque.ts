/** A list that grows and shrinks at both ends in constant time: a ring buffer. */
export interface Deque<Item> extends Iterable<Item> {
  readonly size: number;
  at(index: number): Item | undefined;
  pushBack(item: Item): void;
  pushFront(item: Item): void;
  takeFront(): Item | undefined;
  /** Takes the item at `index`; the first one moves to its place. */
  takeSwapped(index: number): Item | undefined;
  clear(): void;
}

const smallest = 16;

export function createDeque<Item>(): Deque<Item> {
  let ring = emptyRing<Item>(smallest);
  let head = 0;
  let size = 0;

  const slot = (index: number): number => (head + index) & (ring.length - 1);
  const resize = (capacity: number): void => {
    const next = emptyRing<Item>(capacity);
    for (let index = 0; index < size; index++) next[index] = ring[slot(index)];
    ring = next;
    head = 0;
  };
  const takeFront = (): Item | undefined => {
    if (size === 0) return undefined;
    const item = ring[head];
    ring[head] = undefined;
    head = slot(1);
    size--;
    if (ring.length > smallest && size < ring.length / 4) resize(ring.length / 2);
    return item;
  };

  return {
    get size() {
      return size;
    },
    at: (index) => (index >= 0 && index < size ? ring[slot(index)] : undefined),
    pushBack(item) {
      if (size === ring.length) resize(size * 2);
      ring[slot(size)] = item;
      size++;
    },
    pushFront(item) {
      if (size === ring.length) resize(size * 2);
      head = slot(ring.length - 1);
      ring[head] = item;
      size++;
    },
    takeFront,
    takeSwapped(index) {
      if (index <= 0 || index >= size) return takeFront();
      const item = ring[slot(index)];
      ring[slot(index)] = ring[head];
      takeFront();
      return item;
    },
    clear() {
      ring = emptyRing(smallest);
      head = 0;
      size = 0;
    },
    *[Symbol.iterator]() {
      for (let index = 0; index < size; index++) yield ring[slot(index)] as Item;
    },
  };
}

/** Its length is a power of two, so that places are found with a mask. */
function emptyRing<Item>(length: number): (Item | undefined)[] {
  return Array.from({ length });
}
