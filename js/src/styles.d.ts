// Style sheets are bundled, or loaded by the tests; they export nothing.
declare module "*.css";
