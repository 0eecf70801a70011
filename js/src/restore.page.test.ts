import { beforeEach, describe, expect, test } from "vitest";
import { drawGivenUp } from "./restore";

const VIEW = "application/vnd.jupyter.widget-view+json";

beforeEach(() => document.body.replaceChildren());

/** JupyterLab as far as it is needed: outputs of these models, and the views that each model has. */
function lab(views: Record<string, object | undefined>, ...shown: (string | null)[]) {
  const drawn: unknown[] = [];
  const items = shown.map((id, i) => ({
    data: id === null ? {} : { [VIEW]: { model_id: id } },
    toJSON: () => i,
  }));
  const outputs = {
    length: items.length,
    get: (i: number) => items[i]!,
    set: (i: number, value: unknown) => drawn.push([i, value]),
  };
  const manager = {
    context: { model: { cells: [{}, { outputs }] } },
    has_model: (id: string) => id in views,
    get_model: async (id: string) => ({ views: views[id]! }),
  };
  return { manager, drawn, items };
}

function giveUp(): void {
  const node = document.createElement("div");
  node.className = "jp-OutputArea-output jupyter-widgets";
  document.body.append(node);
}

describe("outputs that JupyterLab gave up on", () => {
  test("are drawn once more, and nothing else is", async () => {
    giveUp();
    const { manager, drawn } = lab(
      { lost: {}, seen: { view: 1 }, plain: undefined },
      null,
      "seen",
      "lost",
      "gone",
      "plain",
    );
    await drawGivenUp(manager);
    expect(drawn).toEqual([[2, 2]]);
  });

  test("are left alone when their cell has been run again meanwhile", async () => {
    giveUp();
    const { manager, drawn, items } = lab({ lost: {} }, "lost", "lost");
    const drawing = drawGivenUp(manager);
    items[0] = { ...items[0]! };
    await drawing;
    expect(drawn).toEqual([[1, 1]]);
  });

  test("are not looked for where JupyterLab gave up on none", async () => {
    const { manager, drawn } = lab({ waiting: {} }, "waiting");
    await drawGivenUp(manager);
    expect(drawn).toEqual([]);
  });

  test("are nobody's business in other hosts", async () => {
    giveUp();
    await drawGivenUp({ get_model: async () => ({}) });
  });
});
