package listen

// ForgetClient are the queries that take from a server what its last client has set.
var ForgetClient = forgetClient
