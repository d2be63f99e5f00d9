// Package protocol owns the wire format of PostgreSQL's protocol 3: it finds messages in a byte stream, reads startup packets, and builds
// the few messages that the pooler itself originates. It must not know sockets, pools, or clients and servers as connections. It does not
// decide what a message means for a link: proxy/relay does. It does not read SQL: sqltext does.
//
// Everything here works on bytes and may be called from any goroutine. Nothing keeps the bytes that it is given unless its doc says so.
// Facts are from the PostgreSQL manual, chapter 54 (Frontend/Backend Protocol), cited as "manual 54.x".
//
// Read scanner.go first: every byte passes through it.
package protocol

// Messages of clients (manual 54.7).
const (
	ClientBind         = byte('B')
	ClientClose        = byte('C')
	ClientCopyData     = byte('d')
	ClientCopyDone     = byte('c')
	ClientCopyFail     = byte('f')
	ClientDescribe     = byte('D')
	ClientExecute      = byte('E')
	ClientFlush        = byte('H')
	ClientFunctionCall = byte('F')
	ClientParse        = byte('P')
	ClientPassword     = byte('p')
	ClientQuery        = byte('Q')
	ClientSync         = byte('S')
	ClientTerminate    = byte('X')
)

// Messages of servers (manual 54.7).
const (
	ServerAuthentication           = byte('R')
	ServerBackendKeyData           = byte('K')
	ServerBindComplete             = byte('2')
	ServerCloseComplete            = byte('3')
	ServerCommandComplete          = byte('C')
	ServerCopyBothResponse         = byte('W')
	ServerCopyData                 = byte('d')
	ServerCopyDone                 = byte('c')
	ServerCopyInResponse           = byte('G')
	ServerCopyOutResponse          = byte('H')
	ServerDataRow                  = byte('D')
	ServerEmptyQueryResponse       = byte('I')
	ServerErrorResponse            = byte('E')
	ServerFunctionCallResponse     = byte('V')
	ServerNegotiateProtocolVersion = byte('v')
	ServerNoData                   = byte('n')
	ServerNoticeResponse           = byte('N')
	ServerNotificationResponse     = byte('A')
	ServerParameterDescription     = byte('t')
	ServerParameterStatus          = byte('S')
	ServerParseComplete            = byte('1')
	ServerPortalSuspended          = byte('s')
	ServerReadyForQuery            = byte('Z')
	ServerRowDescription           = byte('T')
)
