package rules

import (
	"strconv"
	"unicode"
)

// pos is a place in a rule file, both counted from 1, columns in characters.
type pos struct{ line, column int }

// style is how a text is written in YAML.
type style int

const (
	bare   style = iota // plain, literal (|) and folded (>): what is written is what is meant
	single              // '…', where '' is a quote
	double              // "…", with escapes
)

// locate tells for each character of a text where it is written, and for the
// place behind its last one. It walks the text and the lines side by side: folding,
// indentation and escapes change white space and escapes only. Where they do not
// go together it gives nil, and the text's own place has to do.
func locate(text string, lines [][]rune, from pos, as style) []pos {
	if from.line < 1 || from.line > len(lines) || from.column < 1 {
		return nil
	}
	w := walker{lines: lines, line: from.line - 1, column: from.column - 1}
	var out []pos
	for _, r := range text {
		if !unicode.IsSpace(r) {
			w.skip(as)
		}
		at := w.at()
		written, n := w.next(as)
		switch {
		case written == r:
			w.advance(n)
		case !unicode.IsSpace(r):
			return nil
		}
		out = append(out, at)
	}
	return append(out, w.at())
}

// walker stands somewhere in the lines.
type walker struct {
	lines        [][]rune
	line, column int
}

func (w *walker) at() pos { return pos{w.line + 1, w.column + 1} }

// look gives the character some places ahead; a line ends with '\n', the lines with 0.
func (w *walker) look(ahead int) rune {
	switch {
	case w.line >= len(w.lines):
		return 0
	case w.column+ahead < len(w.lines[w.line]):
		return w.lines[w.line][w.column+ahead]
	case w.column+ahead == len(w.lines[w.line]):
		return '\n'
	default:
		return 0
	}
}

// advance goes on by some characters, at most to the start of the next line.
func (w *walker) advance(n int) {
	if w.column += n; w.line < len(w.lines) && w.column > len(w.lines[w.line]) {
		w.line, w.column = w.line+1, 0
	}
}

// skip passes white space, and in double quotes a line's escaped end.
func (w *walker) skip(as style) {
	for {
		switch r := w.look(0); {
		case r == ' ' || r == '\n':
			w.advance(1)
		case as == double && r == '\\' && w.look(1) == '\n':
			w.advance(2)
		default:
			return
		}
	}
}

// next gives the character that is meant here, and in how many it is written.
func (w *walker) next(as style) (rune, int) {
	r := w.look(0)
	switch {
	case as == single && r == '\'' && w.look(1) == '\'':
		return '\'', 2
	case as == double && r == '\\':
		return w.escaped()
	}
	return r, 1
}

// escaped reads an escape of YAML's double quotes.
func (w *walker) escaped() (rune, int) {
	simple := map[rune]rune{
		'n': '\n', 't': '\t', 'r': '\r', '0': 0, 'a': '\a', 'b': '\b', 'e': 0x1b, 'f': '\f', 'v': '\v',
		'N': 0x85, '_': 0xa0, 'L': 0x2028, 'P': 0x2029,
	}
	r := w.look(1)
	if meant, ok := simple[r]; ok {
		return meant, 2
	}
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[r]
	if digits == 0 {
		return r, 2 // \" \\ \/ and a space
	}
	var hex []rune
	for i := range digits {
		hex = append(hex, w.look(2+i))
	}
	n, err := strconv.ParseUint(string(hex), 16, 32)
	if err != nil {
		return unicode.ReplacementChar, 2
	}
	return rune(n), 2 + digits
}
