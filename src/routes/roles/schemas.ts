import { Type } from '@sinclair/typebox'
import { descriptionMaxLength } from '../../lib/single-line.js'
import { ref } from '../../schema-ref.js'
import { roleNameMaxLength, roleNamePattern } from '../../plugins/roles/role-name.js'

export const RoleBody = Type.Object({
  name: Type.String({ minLength: 1, maxLength: roleNameMaxLength, pattern: roleNamePattern, format: 'role-name', description: 'Small ASCII letters, digits and `_ . -`, a letter first.', examples: ['editor'] }),
  description: Type.String({ minLength: 1, maxLength: descriptionMaxLength, format: 'description', description: 'What it allows: one line.', examples: ['May change articles.'] })
}, { $id: 'latchkey.Role', description: 'What somebody can be.' })

export const RoleList = Type.Object({
  roles: Type.Array(ref(RoleBody), { description: 'By name.' })
}, { $id: 'latchkey.RoleList', description: 'All roles.' })
