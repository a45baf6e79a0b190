package bootcheck

// For the tests of this package, which are outside of it.
var (
	DiskConfig = diskConfig
	LiveConfig = liveConfig
	NodeConfig = nodeConfig

	JudgeNode    = judgeNode
	JudgePods    = judgePods
	JudgeSecrets = judgeSecrets
	JudgeQuota   = judgeQuota
	BytesOf      = bytesOf
	Elapsed      = elapsed
	FlipByte     = flipByte
	CommandLine  = commandLine
)
