import createError from '@fastify/error'

export const SecondFactorOff = createError('SECOND_FACTOR_OFF', 'the account has no second factor', 409)
