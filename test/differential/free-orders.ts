/** Orders in which a real QEMU may tell the same things, by name: both sides are brought into one of them. */

/** One freedom: what it is, why it is free, and how lines are put into one order. */
export interface FreeOrder {
  readonly name: string;
  readonly why: string;
  readonly fix: (lines: readonly string[]) => readonly string[];
}

/** The table. */
export const FREE_ORDERS: readonly FreeOrder[] = [];

/** Lines with every freedom taken away. */
export const inFixedOrder = (lines: readonly string[]): readonly string[] =>
  FREE_ORDERS.reduce((sorted, order) => order.fix(sorted), lines);
