/** Holds items so that the first of them, by `before`, is always at hand: a binary heap. */
export interface Heap<Item> {
  readonly size: number;
  readonly first: Item | undefined;
  push(item: Item): void;
  takeFirst(): Item | undefined;
}

export function createHeap<Item>(before: (one: Item, other: Item) => boolean): Heap<Item> {
  const items: Item[] = [];

  function rise(item: Item, from: number): void {
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = items[parent] as Item;
      if (!before(item, above)) break;
      items[index] = above;
      index = parent;
    }
    items[index] = item;
  }

  function sink(item: Item): void {
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1] as Item, items[child] as Item)) child++;
      const below = items[child] as Item;
      if (!before(below, item)) break;
      items[index] = below;
      index = child;
    }
    items[index] = item;
  }

  return {
    get size() {
      return items.length;
    },
    get first() {
      return items[0];
    },
    push: (item) => rise(item, items.push(item) - 1),
    takeFirst() {
      const first = items[0];
      const last = items.pop();
      if (last !== undefined && items.length > 0) sink(last);
      return first;
    },
  };
}
