/** Which write thresholds were armed by index: those answer with one event, the others with two. */
export class Thresholds {
  readonly #byIndex: Set<number>;

  /** @param byIndex indexes of images of which an earlier connection knew so */
  constructor(byIndex: readonly number[] = []) {
    this.#byIndex = new Set(byIndex);
  }

  /** The images whose thresholds were armed as `vda[N]`. */
  get armedByIndex(): readonly number[] {
    return [...this.#byIndex];
  }

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
