/** Where a part of this program may decide what a container learns of the outside. Without one, everything. */
import type { Container } from "./containers";
import type { Question } from "./dns";

export interface Gate {
  /** Asked about each question of a container before anything is looked up for it: false has the name be none. */
  readonly allows: (this: void, container: Container, question: Question) => boolean;
  /**
   * Gets each answer that has come from outside, and calls `pass` once, at once or later, with what the container is to get.
   *
   * @param answer the whole packet
   */
  readonly answered: (
    this: void,
    container: Container,
    question: Question,
    answer: string,
    pass: (this: void, answer: string) => void,
  ) => void;
  /** The container is attached, has got other wishes (`container.egress`), or is gone. */
  readonly changed: (this: void, container: Container, isThere: boolean) => void;
}

/** What is asked; undefined: nobody. */
export const gate: { current: Gate | undefined } = { current: undefined };
