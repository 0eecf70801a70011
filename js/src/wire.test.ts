/// <reference types="node" />
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DEFAULTS, readSettings } from "./settings";
import { encode, pack, series } from "./testing";
import { decode, FrameError } from "./wire";

/** The frame as its JSON twin spells it: arrays as lists, numbers that JSON lacks as words. */
function spelled(value: unknown): unknown {
  if (value instanceof Float64Array) return [...value].map(spelled);
  if (Array.isArray(value)) return value.map(spelled);
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, spelled(part)]));
  }
  return value;
}

const golden = fileURLToPath(new URL("../../tests/wire/", import.meta.url));
const names = readdirSync(golden).filter((name) => name.endsWith(".bin"));

describe("golden frames", () => {
  test("are there", () => expect(names.length).toBeGreaterThan(0));

  test.each(names)("%s reads as its twin says", (name) => {
    const frame = spelled(decode(readFileSync(`${golden}${name}`))) as { runs: { columns: object[] }[] };
    const twin = JSON.parse(readFileSync(`${golden}${name.replace(/\.bin$/, ".json")}`, "utf8"));
    // The twin may leave out what is absent; here it is null.
    for (const [r, run] of frame.runs.entries()) {
      for (const [c, column] of run.columns.entries()) {
        const wanted = twin.runs[r].columns[c];
        twin.runs[r].columns[c] = {
          ...wanted,
          first: wanted.first ?? 0,
          steps: wanted.steps ?? null,
          epochs: wanted.epochs ?? null,
          indices: wanted.indices ?? null,
        };
        expect(Object.keys(column).sort()).toEqual(Object.keys(twin.runs[r].columns[c]).sort());
      }
    }
    expect(frame).toEqual(twin);
  });
});

describe("decode", () => {
  test("reads a column with steps, epochs and indices", () => {
    const frame = decode(
      encode({
        series: [series({ granularity: "epoch", kind: "epoch" })],
        columns: [
          {
            series: 0,
            start: 2,
            values: [1, Number.NaN],
            steps: [30, 50],
            epochs: [2, 4],
            indices: [2, 4],
            length: 9,
          },
        ],
      }),
    );
    const column = frame.runs[0]!.columns[0]!;
    expect([...column.values]).toEqual([1, Number.NaN]);
    expect([...column.steps!]).toEqual([30, 50]);
    expect([...column.epochs!]).toEqual([2, 4]);
    expect([...column.indices!]).toEqual([2, 4]);
    expect(column.length).toBe(9);
  });

  test("reads a frame at an odd offset in a larger buffer", () => {
    const frame = encode({ columns: [{ series: 0, values: [0.5] }] });
    const large = new Uint8Array(frame.byteLength + 7);
    large.set(new Uint8Array(frame.buffer), 3);
    const decoded = decode(new DataView(large.buffer, 3, frame.byteLength));
    expect(decoded.runs[0]!.columns[0]!.values[0]).toBe(0.5);
  });

  test.each([
    ["nothing", new DataView(new ArrayBuffer(0))],
    ["another version", pack('{"runs":[]}', [], 2)],
    ["no JSON", pack("runs")],
    ["no runs", pack("{}")],
    ["a run without an id", pack('{"runs":[{}]}')],
    ["an unknown status", encode({ status: "asleep" as never })],
    ["values outside the body", encode({ columns: [{ series: 0, values: [1], steps: [1] }] }, {}), "cut"],
    ["indices that fall", encode({ columns: [{ series: 0, values: [1, 2], indices: [4, 3] }] })],
    ["an index beyond reason", encode({ columns: [{ series: 0, values: [1, 2], indices: [4, 1e15] }] })],
    ["a negative start", encode({ columns: [{ series: 0, values: [1], start: -1 }] })],
  ] as [string, DataView, string?][])("refuses %s", (_, bytes, cut) => {
    const view = cut === undefined ? bytes : new DataView(bytes.buffer, 0, bytes.byteLength - 8);
    expect(() => decode(view)).toThrow(FrameError);
  });

  test("gives back any number and any text", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme" }),
        fc.array(fc.double()),
        fc.nat(1000),
        (name, values, start) => {
          const frame = decode(encode({ name, columns: [{ series: 3, start, values }] }));
          expect(frame.runs[0]!.name).toBe(name);
          expect([...frame.runs[0]!.columns[0]!.values]).toEqual(values);
          expect(frame.runs[0]!.columns[0]!.start).toBe(start);
        },
      ),
    );
  });

  test("throws nothing but a FrameError, whatever the bytes", () => {
    const whole = new Uint8Array(
      encode({ series: [series()], columns: [{ series: 0, values: [1, 2, 3], steps: [1, 2, 3] }] }).buffer,
    );
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (at, byte, length) => {
        const broken = whole.slice(0, length);
        if (at < length) broken[at] = byte;
        try {
          decode(broken);
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

test("the settings are those of the kernel, with the same defaults", () => {
  expect(DEFAULTS).toEqual(JSON.parse(readFileSync(`${golden}settings.json`, "utf8")));
  expect(readSettings((trait) => DEFAULTS[trait as keyof typeof DEFAULTS])).toEqual(DEFAULTS);
  expect(readSettings(() => ({ nonsense: [1] }))).toEqual({
    ...DEFAULTS,
    scales: {},
    directions: {},
    names: {},
  });
});
