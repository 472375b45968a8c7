import { expect, test } from "vitest";
import { filterLacks, filterPolicy } from "./filter-policy.ts";

test("a filter lets the types through, whatever their order; without types nothing", () => {
  expect(filterPolicy(["b", "a"])).toBe(`{"type":["a","b"]}`);
  expect(filterPolicy([])).toBe(`{"type":["-"]}`);
});

test("a filter that lets more through is enough", () => {
  expect(filterLacks(["a"], `{"type":["b","a"]}`)).toBe("enough");
  expect(filterLacks([], `{"type":["b"]}`)).toBe("enough");
});

test("types that it lacks come behind those it has, and none is taken away", () => {
  expect(filterLacks(["c", "a", "b"], `{"type":["b","x",{"prefix":"y"}]}`)).toEqual({
    wanted: `{"type":["b","x",{"prefix":"y"},"a","c"]}`,
  });
  expect(filterLacks(["a"], filterPolicy([]))).toEqual({ wanted: `{"type":["a"]}` });
});

const numbered = (count: number): string[] => Array.from({ length: count }, (_, n) => `t${1_000 + n}`);

test("of more types than SNS takes every type is let through", () => {
  expect(JSON.parse(filterPolicy(numbered(150)))).toEqual({ type: numbered(150) });
  expect(filterPolicy(numbered(151))).toBe(`{"type":[{"exists":true}]}`);
  const most = filterPolicy(numbered(150));
  expect(filterLacks([...numbered(150)], most)).toBe("enough");
  expect(filterLacks(["one-more"], most)).toEqual({ wanted: `{"type":[{"exists":true}]}` });
});

test("a filter that lets every type through is enough for few, for many and for none", () => {
  for (const filter of [filterPolicy(numbered(151)), `{"type":["a",{"exists":true}]}`])
    for (const types of [[], ["b"], numbered(151)]) expect(filterLacks(types, filter)).toBe("enough");
  expect(filterLacks(["b"], `{"type":[{"exists":false}]}`)).toEqual({ wanted: `{"type":[{"exists":false},"b"]}` });
});

test.each([[undefined], [""], ["{"], ["[]"], ["null"], ["{}"], [`{"type":"a"}`], [`{"type":["a"],"region":["eu"]}`]])(
  "%j is a filter of another kind",
  (actual) => {
    expect(filterLacks(["a"], actual)).toBe("otherwise");
  },
);
