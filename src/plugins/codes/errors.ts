import createError from '@fastify/error'

/** Unknown, used, expired or of another kind: one answer. */
export const CodeInvalid = createError('CODE_INVALID', 'the code is not valid, or not any longer', 403)
