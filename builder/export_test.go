package builder

// For tests of how an output folder appears.
var (
	ReplaceDir = replaceDir
	Published  = published
	WriteJSON  = writeJSON

	CompareFolders = compareFolders
)

// For tests of what a bake does with its lock.
var LockAndFetch = lockAndFetch
