package wire

import "unicode/utf8"

// IsHocuspocus reports whether a client's first frame is one of Hocuspocus' provider: an
// Auth or SyncStep1 message behind the document's name. No y-protocols message that a
// client begins with has that form: a name is at least one byte long, and what begins
// with 00 is a sync message.
func IsHocuspocus(frame []byte) bool {
	name, rest, err := Bytes(frame)
	if err != nil || len(name) == 0 || !utf8.Valid(name) {
		return false
	}
	kind, rest, err := Uvarint(rest)
	if err != nil || kind != typeSync && kind != typeAuth {
		return false
	}
	sub, rest, err := Uvarint(rest)
	if err != nil || sub != 0 { // SyncStep1, or a token
		return false
	}
	if _, rest, err = Bytes(rest); err != nil {
		return false
	}
	if kind == typeAuth && len(rest) > 0 { // version 4 says which it is
		_, rest, err = Bytes(rest)
	}
	return err == nil && len(rest) == 0
}
