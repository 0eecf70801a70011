/**
 * Shows again what JupyterLab gave up on while a page was being loaded.
 *
 * For an output whose model is not there yet it looks every tenth of a second, for two seconds, and not once more at
 * the end. If the kernel gives the models back between the last look and that end, as when a cell ends just then or
 * the page is held up, the output says "model not found" and is never drawn, though its model is there.
 */

const VIEW = "application/vnd.jupyter.widget-view+json";
// How JupyterLab marks the outputs it gave up on; the mark stays when they are drawn after all.
const GIVEN_UP = ".jp-OutputArea-output.jupyter-widgets";

/** The parts of JupyterLab's widget manager that are used here. Other hosts have none or fewer of them. */
export interface Manager {
  context?: { model?: { cells?: Iterable<{ outputs?: Outputs }> } };
  has_model?(id: string): boolean;
  get_model(id: string): Promise<{ views?: object }>;
}

interface Outputs {
  length: number;
  get(index: number): Output;
  set(index: number, value: unknown): void;
}

interface Output {
  data: Record<string, unknown>;
  toJSON(): unknown;
}

/** Have the outputs drawn once more that show nothing, though their models are there. */
export async function drawGivenUp(manager: Manager): Promise<void> {
  if (document.querySelector(GIVEN_UP) === null) return;
  // All are found before one is drawn: two may show the same model, which then has a view.
  const found: [Outputs, number, Output][] = [];
  for (const { outputs } of manager.context?.model?.cells ?? []) {
    for (let i = 0; i < (outputs?.length ?? 0); i++) {
      const output = outputs!.get(i);
      const id = (output.data[VIEW] as { model_id?: string } | undefined)?.model_id;
      if (!id || !manager.has_model?.(id)) continue;
      const { views } = await manager.get_model(id);
      if (views !== undefined && Object.keys(views).length === 0) found.push([outputs!, i, output]);
    }
  }
  for (const [outputs, i, output] of found) {
    // A cell may have been run again meanwhile.
    if (i < outputs.length && outputs.get(i) === output) outputs.set(i, output.toJSON());
  }
}
