/** Which value of a metric is its best: the lowest loss, the highest accuracy. */
import type { Series } from "./series";
import type { Direction, Texts } from "./settings";
import type { Run } from "./store";

/** The metric that comes first. */
export const LOSS = "loss";

const LOW =
  /^(.*\b)?(loss|losses|error|err|mae|mse|rmse|msle|mape|logloss|perplexity|ppl|wer|cer|fid|nll|kl|crossentropy|deviance)(\b.*)?$/;
const HIGH =
  /^(.*\b)?(acc|accuracy|auc|aucpr|auroc|f1|fbeta|precision|recall|sensitivity|specificity|dice|iou|jaccard|map|m ap|ndcg|mrr|bleu|rouge\w*|r2|score|kappa|mcc|psnr|ssim|hits)(\b.*)?$/;

/** Which value of a metric is the best; null where neither the person nor the name tells. */
export function directionOf(metric: string, told: Texts<Direction>): Direction | null {
  const direction = Object.hasOwn(told, metric) ? told[metric] : undefined;
  if (direction !== undefined) return direction;
  // "top_5_accuracy", "valError": words, however they are put together.
  const words = metric
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .replace(/[\W_]+/g, " ")
    .toLowerCase()
    .trim();
  if (LOW.test(words)) return "min";
  return HIGH.test(words) ? "max" : null;
}

/** The index of the best point, the first of several; -1 where nobody knows. */
export function bestOf(series: Series, direction: Direction | null): number {
  if (direction === null) return -1;
  return direction === "min" ? series.extent.lowest : series.extent.highest;
}

/** How many epochs have ended since the best one. */
export function sinceBest(series: Series, direction: Direction | null): number {
  const best = bestOf(series, direction);
  return best < 0 ? 0 : series.epoch(series.end - 1) - series.epoch(best);
}

/** The series by which a run is judged; null if there is none. */
export function judged(run: Pick<Run, "series">, told: Texts<Direction>): Series | null {
  const known = [...run.series.values()].filter(
    ({ spec, count }) => spec.granularity === "epoch" && count > 0 && directionOf(spec.panel, told) !== null,
  );
  // The loss before other metrics, validation before training.
  const rank = ({ spec }: Series) => Number(spec.panel !== LOSS) * 2 + Number(spec.split !== "validation");
  return known.sort((a, b) => rank(a) - rank(b))[0] ?? null;
}
