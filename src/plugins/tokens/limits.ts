/** The most tokens that a user can have. Where there are more, the least recently used logins are evicted. */
export const tokensPerUser = 100

/** The most of them that can be personal access tokens: there is always room for a login. */
export const personalTokensPerUser = tokensPerUser - 1

/** The lifetime of a personal access token unless another is requested: 30 days, in seconds. */
export const personalTokenLifetimeSeconds = 2_592_000

/** How old a login may be that creates a personal access token without the password: 15 minutes, in seconds. */
export const recentLoginSeconds = 900

/** For how long a token stays valid after it was renewed, in milliseconds: two tabs of a browser may renew it at once. */
export const renewalGraceMs = 30_000
