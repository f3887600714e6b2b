package history

// check looks after the streams.
type check struct{}

func newCheck(*History) *check { return &check{} }

func (c *check) close() {}

func (c *check) suspect(int, error) {}

func (c *check) stored(int, uint64) {}
