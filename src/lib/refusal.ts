/** A refusal: what an operator asked for cannot be done. Its message is a sentence for the operator. */
export class Refusal extends Error {
  override name = "Refusal";
}
