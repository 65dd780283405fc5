import { Type } from '@sinclair/typebox'
import { descriptionMaxLength } from '../../lib/single-line.js'
import { ref } from '../../schema-ref.js'
import { roleNameMaxLength, roleNamePattern } from '../../plugins/roles/role-name.js'

export const RoleBody = Type.Object({
  name: Type.String({ minLength: 1, maxLength: roleNameMaxLength, pattern: roleNamePattern, format: 'role-name', description: 'Lower-case ASCII letters, digits and `_ . -`; it begins with a letter.', examples: ['editor'] }),
  description: Type.String({ minLength: 1, maxLength: descriptionMaxLength, format: 'description', description: 'What the role permits, in one line.', examples: ['May change articles.'] })
}, { $id: 'latchkey.Role', description: 'A role that users can have.' })

export const RoleList = Type.Object({
  roles: Type.Array(ref(RoleBody), { description: 'By name.' })
}, { $id: 'latchkey.RoleList', description: 'All roles.' })
