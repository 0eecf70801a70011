/** What of a plot has to be drawn again: while a run goes on, it mostly differs from what is there at its end alone. */
import { thinning } from "./annotations";
import type { Area, Picture } from "./drawing";

// Markers and the lines' ends reach so many pixels to the left of their point.
const REACH = 10;

/**
 * From which pixel on a picture differs from the one that was drawn before it; 0 if it may anywhere.
 *
 * @param area - where the lines of the former picture were drawn
 */
export function changedFrom(before: Picture, now: Picture, area: Area): number {
  const from = Math.floor((area.x(now.from) - REACH) * now.ratio) / now.ratio;
  return from > 0 &&
    from < now.width &&
    look(before, area) === look(now, area) &&
    now.timeline.placesAs(before.timeline)
    ? from
    : 0;
}

/** Everything that the picture shows, but for the points of its lines and where these stand. */
function look(
  { strands, marks, clipped, timeline, lines: _, from: __, ...rest }: Picture,
  area: Area,
): string {
  return JSON.stringify([
    rest,
    marks.length,
    clipped.count > 0,
    thinning(area, timeline),
    strands.map(({ line: { series, best, of }, stroke, dense, isRaw }) => [
      of.run.facts.id,
      series.spec.id,
      best,
      stroke,
      dense,
      isRaw,
    ]),
  ]);
}
