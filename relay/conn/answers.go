package conn

// fewAnswers is what an app may have waiting for its clients in any case, in bytes: others
// that have filled the node must not cut its clients off.
const fewAnswers = 1 << 20

// Owe counts bytes that were made for this client alone and wait for its socket; what is
// negative it has taken. It reports whether the node can bear them: a client that asks and
// does not read costs memory with each question. share is that of the app, or nil.
func (c *Conn) Owe(share *Share, bytes int) bool {
	total, ofApp := c.cfg.answers.Add(int64(bytes)), int64(0)
	if share != nil {
		ofApp = share.answers.Add(int64(bytes))
	}
	if c.cfg.MaxIncomingBytes < 0 || bytes <= 0 || share != nil && ofApp <= fewAnswers {
		return true
	}
	return ofApp <= c.cfg.appIncoming() && total <= int64(c.cfg.MaxIncomingBytes)
}
