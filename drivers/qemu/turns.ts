/** One at a time, in the order of asking. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs a section when all that were asked for before it have ended, however they ended. */
  take<T>(section: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(section, section);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
