/** Which write thresholds were armed by index: those answer with one event, the others with two. */
export class Thresholds {
  readonly #byIndex = new Set<number>();

  /** Notes how an image's threshold was armed; a later arming replaces an earlier one. */
  arm(imageIndex: number, byIndex: boolean): void {
    if (byIndex) this.#byIndex.add(imageIndex);
    else this.#byIndex.delete(imageIndex);
  }

  /** Whether the image's threshold was armed as `vda[N]`. */
  wasByIndex(imageIndex: number): boolean {
    return this.#byIndex.has(imageIndex);
  }
}
