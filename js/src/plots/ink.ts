/**
 * What a plot is drawn with: a canvas in the page, or `SvgInk`, which writes the same strokes as a picture of its
 * own. All lengths are CSS pixels.
 */
export type Ink = Pick<
  CanvasRenderingContext2D,
  | "arc"
  | "beginPath"
  | "clip"
  | "closePath"
  | "fill"
  | "fillRect"
  | "fillStyle"
  | "fillText"
  | "font"
  | "globalAlpha"
  | "lineJoin"
  | "lineTo"
  | "lineWidth"
  | "measureText"
  | "moveTo"
  | "rect"
  | "restore"
  | "save"
  | "setLineDash"
  | "stroke"
  | "strokeStyle"
  | "textAlign"
  | "textBaseline"
  | "translate"
> & {
  /** Whether a picture is written that has no pixels of its own. */
  readonly isVector?: boolean;
};
