package builder

// For tests of how an output folder appears.
var (
	ReplaceDir = replaceDir
	Published  = published
	WriteJSON  = writeJSON
)
