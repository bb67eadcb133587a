// Text that a step streams. What a reconnect repeats is dropped; a hole is kept as one, and never closed by a guess.

/** More than this of one text is not kept: the start goes, and what is shown says so. */
const MOST = 262_144;
const TAIL = 200;

export class Streamed {
  attempt = 0;
  /** Where in the attempt's text the kept part begins. */
  start = 0;
  text = "";
  /** The end of what came before the kept part, where it is known: null not looked for yet. */
  private lead: string | null = null;

  /** Takes a piece; tells whether anything is new. */
  take(attempt: number, offset: number, piece: string): boolean {
    if (attempt < this.attempt) return false;
    if (attempt > this.attempt || this.text === "") {
      this.attempt = attempt;
      this.start = offset;
      this.text = "";
      this.lead = null;
    }
    const end = this.start + this.text.length;
    if (offset > end) {
      this.start = offset; // what is missing in between comes with the step in full
      this.text = piece;
      this.lead = "… ";
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

  /** The end of the text in one line; `known`: that of the row, which may hold what came before this was listened to. */
  tail(known: string): string {
    if (this.start === 0) return tailOf(this.text);
    if (this.lead === null) {
      const heard = tailOf(this.text);
      this.lead = heard && known.endsWith(heard) ? known.slice(0, -heard.length) : known;
    }
    return tailOf(this.lead + this.text);
  }
}

/** The end of a text, in one line. */
export function tailOf(text: string): string {
  return text.slice(-TAIL * 2).replace(/\s+/g, " ").slice(-TAIL);
}
