package sqlitefile

import "strings"

// columnsOf reads the names of the columns out of the statement that created a table:
// the first word of each part between the outermost parentheses.
func columnsOf(sql string) ([]string, error) {
	open := strings.IndexByte(sql, '(')
	if open < 0 {
		return nil, errDamaged
	}
	var columns []string
	depth, word, done := 0, "", false
	for rest := sql[open+1:]; rest != ""; {
		if quoted, after := quote(rest); after != "" || quoted != "" {
			if !done {
				word, done = quoted, true
			}
			rest = after
			continue
		}
		c := rest[0]
		rest = rest[1:]
		switch {
		case c == '(':
			depth++
			done = true
		case depth == 0 && (c == ',' || c == ')'):
			if word != "" {
				columns = append(columns, word)
			}
			if word, done = "", false; c == ')' {
				return columns, nil
			}
		case c == ')':
			depth--
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
			done = done || word != ""
		case !done:
			word += string(c)
		}
	}
	return nil, errDamaged
}

// quote reads a quoted name at the beginning of a text. Nothing is after what is not
// quoted, or not to its end.
func quote(text string) (quoted, after string) {
	end, ok := map[byte]byte{'"': '"', '\'': '\'', '`': '`', '[': ']'}[text[0]]
	if !ok {
		return "", ""
	}
	for i := 1; i < len(text); i++ {
		if text[i] != end {
			continue
		}
		if end != ']' && i+1 < len(text) && text[i+1] == end { // doubled: it stands for itself
			i++
			continue
		}
		return strings.ReplaceAll(text[1:i], string([]byte{end, end}), string(end)), text[i+1:]
	}
	return "", ""
}
