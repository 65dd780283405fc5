/** The most tokens a user can have. Logins give way, the oldest first. */
export const tokensPerUser = 100

/** The most of them that can be personal access tokens: a login always finds a place. */
export const personalTokensPerUser = tokensPerUser - 1

/** The life of a personal access token that does not ask for another: 30 days, in seconds. */
export const personalTokenLifetimeSeconds = 2_592_000

/** How old a login may be that makes a personal access token without the password: 15 minutes, in seconds. */
export const recentLoginSeconds = 900
