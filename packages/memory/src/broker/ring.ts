/** A list that grows at its end and shrinks at its front in constant time, and whose items are found by index: a ring buffer. */
export interface Ring<Item> {
  readonly size: number;
  at(index: number): Item | undefined;
  pushBack(item: Item): void;
  takeFront(): Item | undefined;
}

const smallest = 16;

export function createRing<Item>(): Ring<Item> {
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
    takeFront,
  };
}

/** Its length is a power of two, so that places are found with a mask. */
function emptyRing<Item>(length: number): (Item | undefined)[] {
  return Array.from({ length });
}
