// Text that a step streams. What a reconnect repeats is dropped; a hole is kept as one, and never closed by a guess.

/** More than this of one text is not kept: the start goes, and what is shown says so. */
const MOST = 262_144;
const TAIL = 200;

export class Streamed {
  attempt = 0;
  /** Where in the attempt's text the kept part begins. */
  start = 0;
  text = "";

  /** Takes a piece; tells whether anything is new. */
  take(attempt: number, offset: number, piece: string): boolean {
    if (attempt < this.attempt) return false;
    if (attempt > this.attempt || this.text === "") {
      this.attempt = attempt;
      this.start = offset;
      this.text = "";
    }
    const end = this.start + this.text.length;
    if (offset > end) {
      this.start = offset; // what is missing in between comes with the step in full
      this.text = piece;
    } else {
      if (offset + piece.length <= end) return false;
      this.text += piece.slice(end - offset);
    }
    if (this.text.length > MOST) {
      const cut = this.text.length - MOST / 2;
      this.text = this.text.slice(cut);
      this.start += cut;
    }
    return true;
  }

  get tail(): string {
    return tailOf(this.text);
  }
}

/** The end of a text, in one line. */
export function tailOf(text: string): string {
  return text.slice(-TAIL * 2).replace(/\s+/g, " ").slice(-TAIL);
}
