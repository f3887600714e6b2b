package ystore

// What is done about an update beyond reading it once, in bytes: as much is done about
// so many bytes of an ordinary one. So a sender can be charged for both alike.
const (
	editWork  = 128  // finding a leaf and moving its bytes
	entryWork = 32   // writing an entry of it anew
	placeWork = 16   // finding where a struct lies
	rangeWork = 8    // looking for a delete range
	sortWork  = 24   // and having it sorted before
	waitWork  = 64   // looking for a circle through a struct that waits
	runWork   = 1024 // making room for another client id
)

// Work counts what the store has done about updates, those that were refused included,
// beyond reading them: a few bytes may cost much, such as a deletion in each of many
// leaves. It never falls.
func (s *Store) Work() int { return s.work }
